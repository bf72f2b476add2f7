package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/config"
)

func TestScrapeTimeout(t *testing.T) {
	for _, test := range []struct {
		header string
		offset time.Duration
		want   time.Duration
	}{
		{"", 500 * time.Millisecond, 4500 * time.Millisecond},
		{"10", 500 * time.Millisecond, 9500 * time.Millisecond},
		{"60.000000", 500 * time.Millisecond, 59500 * time.Millisecond},
		{"0.8", 500 * time.Millisecond, 400 * time.Millisecond},
		{"1", 500 * time.Millisecond, 500 * time.Millisecond},
		{"10", 0, 10 * time.Second},
		{"10", time.Hour, 5 * time.Second},
		{"1e300", 0, 10 * time.Minute},
		{"1e999", 0, 10 * time.Minute},
		{"+Inf", 0, 10 * time.Minute},
		{"-1e999", 0, 5 * time.Second},
		{"-3", 0, 5 * time.Second},
		{"0", 0, 5 * time.Second},
		{"NaN", 0, 5 * time.Second},
		{"soon", 0, 5 * time.Second},
	} {
		if got := scrapeTimeout(http.Header{timeoutHeader: {test.header}}, test.offset); got != test.want {
			t.Errorf("%q minus %v: got %v, want %v", test.header, test.offset, got, test.want)
		}
	}
}

// slowAPI returns a value after a while.
type slowAPI time.Duration

func (d slowAPI) RelationStat(ctx context.Context, _ justoneapi.Token, _ int64) (justoneapi.Stat, error) {
	select {
	case <-time.After(time.Duration(d)):
		return justoneapi.Stat{Followers: 1, Following: 1}, nil
	case <-ctx.Done():
		return justoneapi.Stat{}, ctx.Err()
	}
}

func (slowAPI) Balance(context.Context, justoneapi.Token) (justoneapi.Balance, error) {
	return justoneapi.Balance{}, nil
}

// pipeListener is a [net.Listener] for connections in memory, which work with a fake clock.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// dialTest connects to the HTTP server of an exporter for one user. The connection is not buffered: the server's writes
// block until the client reads.
func dialTest(t *testing.T, api slowAPI) (conn net.Conn, closed <-chan struct{}) {
	t.Helper()
	const text = "{api: {token: t, timeout: 5m}, quota: {min_interval: 1m}, users: [1]}"
	cfg, err := config.Parse("b.yml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cfg, Options{Logger: log.NewNopLogger(), TelemetryPath: "/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	current := e.current.Load()
	current.settings.API = api
	e.collector.Reload(current.settings, current.limits)

	listener, disconnected := make(pipeListener), make(chan struct{})
	server := NewHTTPServer(e, stdlog.New(io.Discard, "", 0))
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(disconnected)
		}
	}
	go server.Serve(listener) //nolint:errcheck // it fails when the listener is closed
	client, accepted := net.Pipe()
	listener <- accepted
	t.Cleanup(func() {
		client.Close()
		close(listener)
		server.Close() //nolint:errcheck // the test is over
		e.Close(t.Context())
	})
	return client, disconnected
}

// TestSlowReaders sends requests and never reads the responses.
func TestSlowReaders(t *testing.T) {
	for _, request := range []string{
		"GET /metrics", "GET /metrics?name[]=go_info", "POST /metrics", "GET /", "GET /config", "GET /-/healthy",
		"GET /-/ready", "POST /-/reload", "GET /nothing",
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, closed := dialTest(t, 0)
			start := time.Now()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n\r\n", request)
			<-closed
			if got := time.Since(start); got < clientTimeout || got > clientTimeout+time.Second {
				t.Errorf("%s: the connection was closed after %v, want %v", request, got, clientTimeout)
			}
		})
	}
}

// TestMissingBody announces bodies and never sends them.
func TestMissingBody(t *testing.T) {
	for _, request := range []string{"GET /metrics", "POST /-/reload", "GET /nothing"} {
		for _, header := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
			synctest.Test(t, func(t *testing.T) {
				conn, closed := dialTest(t, 0)
				start := time.Now()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", request, header)
				response, err := io.ReadAll(conn)
				if err != nil || !strings.HasPrefix(string(response), "HTTP/1.1 413 ") {
					t.Errorf("%s: got %v and %s", request, err, response)
				}
				<-closed
				if got := time.Since(start); got > clientTimeout+time.Second {
					t.Errorf("%s with %s: the connection was closed after %v, want %v", request, header, got, clientTimeout)
				}
			})
		}
	}
}

// TestLongScrape makes two scrapes on one connection, each longer than the client timeout.
func TestLongScrape(t *testing.T) {
	const duration = 4 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		conn, closed := dialTest(t, slowAPI(duration))
		reader := bufio.NewReader(conn)
		for i := range 2 {
			start := time.Now()
			fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n%s: 600\r\n\r\n", timeoutHeader)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if want := fmt.Sprintf("\nbilibili_api_requests_total %d\n", i+1); err != nil ||
				response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("got %v, status %d and\n%s\nwant %s", err, response.StatusCode, body, want)
			}
			if got := time.Since(start); got != duration {
				t.Errorf("the scrape took %v, want %v", got, duration)
			}
		}
		// A scrape, too, must be read in time.
		start := time.Now()
		fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n%s: 600\r\n\r\n", timeoutHeader)
		<-closed
		if got, want := time.Since(start), duration+clientTimeout; got < want || got > want+time.Second {
			t.Errorf("the connection was closed after %v, want %v", got, want)
		}
	})
}

// TestLongScrapeHTTP2 makes a scrape longer than the client timeout over HTTP/2.
func TestLongScrapeHTTP2(t *testing.T) {
	const duration = 4 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		conn, _ := dialTest(t, slowAPI(duration))
		transport := &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			Protocols:   new(http.Protocols),
		}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(timeoutHeader, "600")
		start := time.Now()
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), "\nbilibili_api_requests_total 1\n") {
			t.Errorf("got %v and\n%s", err, body)
		}
		if got := time.Since(start); got != duration {
			t.Errorf("the scrape took %v, want %v", got, duration)
		}
	})
}
