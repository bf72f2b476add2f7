package justoneapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wmid = 3546564939877816 // 16 digits, as in use

// newClient returns a client of server whose connections are closed at the end of the test.
func newClient(t *testing.T, server *justoneapitest.Server) *justoneapi.Client {
	t.Helper()
	transport := server.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return justoneapi.New(mustParse(t, server.URL), transport)
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newServer(t *testing.T) *justoneapitest.Server {
	t.Helper()
	server := justoneapitest.NewServer()
	t.Cleanup(server.Close)
	return server
}

var token = justoneapi.NewToken(justoneapitest.Token)

func TestRelationStat(t *testing.T) {
	server := newServer(t)
	server.Set(wmid, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	got, err := newClient(t, server).RelationStat(t.Context(), token, wmid)
	if err != nil {
		t.Fatal(err)
	}
	want := justoneapi.Stat{Followers: 4153991, Following: 11, RequestID: fmt.Sprintf("stand-in-%d-0", int64(wmid))}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := server.Tally(wmid), (justoneapitest.Tally{Requests: 1, Billed: 1}); got != want {
		t.Errorf("tally: got %+v, want %+v", got, want)
	}
}

// TestRelationStatFaults tests every fault of the stand-in: it has its code, is one request on the wire, is billed as
// the stand-in bills it, and does not show the token.
func TestRelationStatFaults(t *testing.T) {
	for _, fault := range justoneapitest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			server.SetAll(fault.Response)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if fault.Slow {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			_, err := newClient(t, server).RelationStat(ctx, token, wmid)
			var failure *justoneapi.Error
			if !errors.As(err, &failure) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if failure.Code != fault.Code {
				t.Errorf("got code %q, want %q (%v)", failure.Code, fault.Code, err)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, failure, *failure); strings.Contains(text, justoneapitest.Token) {
				t.Errorf("the error shows the token: %s", text)
			}
			tally := server.Tally(wmid)
			if tally.Requests != 1 {
				t.Errorf("got %d requests on the wire, want 1", tally.Requests)
			}
			contradicting := justoneapi.Billed
			if tally.Billed == 1 {
				contradicting = justoneapi.NotBilled
			}
			if failure.Billing == contradicting {
				t.Errorf("got billing %q, but the stand-in billed %d", failure.Billing, tally.Billed)
			}
		})
	}
}

func TestRelationStatKinds(t *testing.T) {
	const (
		upstream, user, account = justoneapi.ScopeUpstream, justoneapi.ScopeUser, justoneapi.ScopeAccount
		unknown, no, yes        = justoneapi.BillingUnknown, justoneapi.NotBilled, justoneapi.Billed
	)
	code := func(n int) justoneapitest.Response { return justoneapitest.Code(n, "") }
	nested := func(n int) justoneapitest.Response { return justoneapitest.BilibiliCode(n, "") }
	tests := []struct {
		name     string
		response justoneapitest.Response
		scope    justoneapi.Scope
		reason   justoneapi.Reason
		billing  justoneapi.Billing
	}{
		{"100", code(100), account, "token", no},
		{"101", code(101), upstream, "", unknown},
		{"201", code(201), user, "", yes},
		{"202", code(202), upstream, "", unknown},
		{"300", code(300), upstream, "", unknown},
		{"301", code(301), upstream, "", no},
		{"302", code(302), account, "rate_limit", no},
		{"303", code(303), account, "daily_quota", no},
		{"400", code(400), user, "", no},
		{"404", code(404), user, "", unknown},
		{"500", code(500), upstream, "", no},
		{"503", code(503), upstream, "", unknown},
		{"600", code(600), account, "permission", no},
		{"601", code(601), account, "balance", no},
		{"602", code(602), account, "token_limit", no},
		{"777", code(777), upstream, "", unknown},
		{"-1", code(-1), upstream, "", unknown},
		{"301", nested(301), upstream, "", yes}, // Bilibili's 301 is not the API's
		{"-777", nested(-777), upstream, "", yes},
		{"mismatch", justoneapitest.OtherUser(1), user, "", yes},
		{"http_502", justoneapitest.Body(502, "text/html", "Bad Gateway"), upstream, "", unknown},
		{"malformed", justoneapitest.Body(200, "text/html", "Welcome"), upstream, "", unknown},
		{"malformed", justoneapitest.Data(`{}`), upstream, "", yes},
		{"network", justoneapitest.CutBefore(), upstream, "", unknown},
		{"http_429", justoneapitest.Body(429, "text/html", "Slow down"), account, "rate_limit", unknown},
		{"http_503", justoneapitest.Body(503, "text/html", "Maintenance"), upstream, "", unknown},
	}
	type test = struct {
		name     string
		response justoneapitest.Response
		scope    justoneapi.Scope
		reason   justoneapi.Reason
		billing  justoneapi.Billing
	}
	for _, n := range []int{-400, -404, -626, 22115} {
		tests = append(tests, test{strconv.Itoa(n), nested(n), user, "", yes})
	}
	for _, n := range []int{
		-412, -352, -799, -509, -500, -503, -504, -112, -8888, -101, -111, -401, -403, -658,
	} {
		tests = append(tests, test{strconv.Itoa(n), nested(n), upstream, "", yes})
	}
	server := newServer(t)
	client := newClient(t, server)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server.SetAll(test.response)
			_, err := client.RelationStat(t.Context(), token, wmid)
			var got *justoneapi.Error
			if !errors.As(err, &got) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if got.Code != test.name || got.Scope != test.scope || got.Reason != test.reason || got.Billing != test.billing {
				t.Errorf("got %+v, want code %s, scope %d, reason %q, billing %s",
					got.Kind, test.name, test.scope, test.reason, test.billing)
			}
			if got.Meaning == "" {
				t.Error("the code is not explained")
			}
		})
	}
}

// TestRelationStatOnce closes a reused connection under a second request, which net/http would send again by itself.
func TestRelationStatOnce(t *testing.T) {
	server := newServer(t)
	server.SetAll(justoneapitest.CutReused(justoneapitest.Stat(justoneapitest.Constant(1), 1)))
	client := newClient(t, server)
	if _, err := client.RelationStat(t.Context(), token, wmid); err != nil {
		t.Fatal(err)
	}
	_, err := client.RelationStat(t.Context(), token, wmid)
	var failure *justoneapi.Error
	if !errors.As(err, &failure) || failure.Code != "network" || failure.Billing != justoneapi.BillingUnknown {
		t.Errorf("got %v, want code network, possibly billed", err)
	}
	if got := server.Tally(wmid).Requests; got != 2 {
		t.Errorf("got %d requests on the wire for 2 requests", got)
	}
}

// TestPlainRequestIsRepeated shows that the test above can fail: net/http sends a plain request again.
func TestPlainRequestIsRepeated(t *testing.T) {
	server := newServer(t)
	server.SetAll(justoneapitest.CutReused(justoneapitest.Stat(justoneapitest.Constant(1), 1)))
	client := server.Transport()
	defer client.CloseIdleConnections()
	for range 2 {
		target := server.URL + justoneapi.Path + "?wmid=1&token=" + justoneapitest.Token
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var body any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if got := server.Tally(1).Requests; got != 3 {
		t.Errorf("got %d requests on the wire for 2 plain requests, want net/http's 3", got)
	}
}

// TestRelationStatNoConnection tests failures before a request is written: they are certainly not billed.
func TestRelationStatNoConnection(t *testing.T) {
	closed := justoneapitest.NewServer()
	closed.Close()
	plain := newServer(t)
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	proxy := func(url string) *http.Transport { return &http.Transport{Proxy: http.ProxyURL(mustParse(t, url))} }
	noSuchHost := func(context.Context, string, string) (net.Conn, error) {
		err := &net.DNSError{Err: "no such host", Name: "host.test", IsNotFound: true}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}

	tests := []struct {
		name      string
		base      string
		transport *http.Transport
	}{
		{"connection refused", closed.URL, &http.Transport{}},
		{"no such host", "http://host.test", &http.Transport{DialContext: noSuchHost}},
		{"plain HTTP server at https", strings.Replace(plain.URL, "http", "https", 1), &http.Transport{}},
		{"untrusted certificate", untrusted.URL, &http.Transport{}},
		{"proxy down", "http://host.invalid", proxy(closed.URL)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer test.transport.CloseIdleConnections()
			_, err := justoneapi.New(mustParse(t, test.base), test.transport).RelationStat(t.Context(), token, wmid)
			var failure *justoneapi.Error
			if !errors.As(err, &failure) || failure.Code != "network" || failure.Billing != justoneapi.NotBilled {
				t.Errorf("got %v, want code network, not billed", err)
			}
			if strings.Contains(err.Error(), justoneapitest.Token) {
				t.Errorf("the error shows the token: %v", err)
			}
			if strings.Contains(err.Error(), "refused to connect to the API") {
				t.Errorf("the error blames a proxy: %v", err)
			}
		})
	}
}

// TestRelationStatProxyRefuses has proxies that do not connect to the API: the error names the proxy and its reason,
// and the request is certainly not billed. The connection to the proxy is plain or encrypted.
func TestRelationStatProxyRefuses(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	release := make(chan struct{})
	for _, test := range []struct {
		response   http.HandlerFunc
		code, want string
	}{
		{status(http.StatusForbidden), "network: connection failed", "refused to connect to the API: Forbidden"},
		{status(http.StatusProxyAuthRequired), "network: connection failed",
			"refused to connect to the API: Proxy Authentication Required"},
		{status(http.StatusBadGateway), "network: connection failed", "refused to connect to the API: Bad Gateway"},
		{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "network: connection failed",
			"refused to connect to the API: unexpected EOF"},
		{func(http.ResponseWriter, *http.Request) { <-release }, "timeout: no response in time",
			"did not connect to the API in time: context deadline exceeded"},
	} {
		plain, encrypted := httptest.NewServer(test.response), httptest.NewTLSServer(test.response)
		defer plain.Close()
		defer encrypted.Close()
		for _, server := range []*httptest.Server{plain, encrypted} {
			transport := server.Client().Transport.(*http.Transport).Clone()
			transport.Proxy = http.ProxyURL(mustParse(t, server.URL))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := justoneapi.New(mustParse(t, "https://host.invalid"), transport).RelationStat(ctx, token, wmid)
			cancel()
			want := test.code + ": proxy " + server.Listener.Addr().String() + " " + test.want
			var failure *justoneapi.Error
			if !errors.As(err, &failure) || failure.Billing != justoneapi.NotBilled || err.Error() != want {
				t.Errorf("got %v, want %s, not billed", err, want)
			}
		}
	}
	close(release)
}

// TestRelationStatTooLate connects so slowly that the moment until which the request may be sent has passed: it is not
// sent, neither over plain HTTP nor over TLS, and certainly not billed.
func TestRelationStatTooLate(t *testing.T) {
	var requests atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	plain, encrypted := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer encrypted.Close()
	for _, server := range []*httptest.Server{plain, encrypted} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(20 * time.Millisecond)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		ctx := justoneapi.WithSendBy(t.Context(), time.Now().Add(10*time.Millisecond))
		_, err := justoneapi.New(mustParse(t, server.URL), transport).RelationStat(ctx, token, wmid)
		var failure *justoneapi.Error
		if !errors.As(err, &failure) || failure.Billing != justoneapi.NotBilled || strings.Contains(err.Error(), "proxy") {
			t.Errorf("%s: got %v, want a failure that is not billed", server.URL, err)
		}
		if got := requests.Load(); got != 0 {
			t.Errorf("%s: got %d requests, want none", server.URL, got)
		}
	}
}

// TestElapsed has clocks that disagree since the start: the larger time counts.
func TestElapsed(t *testing.T) {
	for wallClock, want := range map[time.Duration]time.Duration{
		0: time.Minute, time.Hour: time.Hour + time.Minute, -time.Hour: time.Minute,
	} {
		start := justoneapitest.Skew(time.Now().Add(-time.Minute), -wallClock)
		if got := justoneapi.Elapsed(start).Round(time.Minute); got != want {
			t.Errorf("wall clock set by %v: got %v, want %v", wallClock, got, want)
		}
	}
}

// TestRelationStatSkewed has clocks that disagree about whether the moment until which the request may be sent has
// passed. It is sent only if neither has reached it.
func TestRelationStatSkewed(t *testing.T) {
	for name, test := range map[string]struct {
		monotonic, wall time.Duration // from now until the moment
		want            int
	}{
		"both ahead":                      {time.Hour, time.Hour, 1},
		"machine suspended":               {time.Hour, -time.Hour, 0},
		"wall clock set back":             {-time.Hour, time.Hour, 0},
		"both passed":                     {-time.Hour, -time.Hour, 0},
		"wall clock set back, both ahead": {time.Hour, 2 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			server.SetAll(justoneapitest.Stat(justoneapitest.Constant(1), 1))
			moment := justoneapitest.Skew(time.Now().Add(test.monotonic), test.wall-test.monotonic)
			newClient(t, server).RelationStat( //nolint:errcheck // what was sent counts
				justoneapi.WithSendBy(t.Context(), moment), token, wmid)
			if got := server.Tally(wmid).Requests; got != test.want {
				t.Errorf("got %d requests, want %d", got, test.want)
			}
		})
	}
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRelationStatForeignTransport uses a transport that does not report its progress and returns nested URL errors:
// nothing is known about billing, and no URL is shown.
func TestRelationStatForeignTransport(t *testing.T) {
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		inner := &url.Error{Op: "Get", URL: r.URL.String() + "&inner", Err: errors.New("went wrong")}
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: inner}
	})
	_, err := justoneapi.New(mustParse(t, "http://host.test"), transport).RelationStat(t.Context(), token, wmid)
	var failure *justoneapi.Error
	if !errors.As(err, &failure) || failure.Billing != justoneapi.BillingUnknown || failure.Detail != "went wrong" {
		t.Errorf("got %#v, want detail \"went wrong\", possibly billed", err)
	}
}

// TestRelationStatPanic uses a transport that panics with the URL: the process does not crash, and the token is not
// shown.
func TestRelationStatPanic(t *testing.T) {
	transport := roundTripper(func(r *http.Request) (*http.Response, error) { panic(r.URL.String()) })
	_, err := justoneapi.New(mustParse(t, "http://host.test"), transport).RelationStat(t.Context(), token, wmid)
	want := "malformed: response does not match the documented format: panic: " +
		"http://host.test" + justoneapi.Path + "?token=<secret>&wmid=3546564939877816"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestRelationStatTimeout lets a request hang for the 60 s that the vendor recommends.
func TestRelationStatTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := justoneapitest.NewPipeServer()
		defer server.Close()
		server.SetAll(justoneapitest.Hang())
		transport := server.Transport()
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := justoneapi.New(mustParse(t, server.URL), transport).RelationStat(ctx, token, wmid)
		var failure *justoneapi.Error
		if !errors.As(err, &failure) || failure.Code != "timeout" || failure.Billing != justoneapi.BillingUnknown {
			t.Errorf("got %v, want code timeout, possibly billed", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("took %v, want 1m", got)
		}
	})
}

// TestRelationStatRequest compares the request on the wire.
func TestRelationStatRequest(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := justoneapi.New(mustParse(t, server.URL+"/prefix/"), transport)
	client.RelationStat(t.Context(), justoneapi.NewToken("a&b=c d"), wmid) //nolint:errcheck // the response is empty
	want := "/prefix/api/bilibili/get-user-relation-stat/v1?token=a%26b%3Dc+d&wmid=3546564939877816"
	if got.RequestURI != want {
		t.Errorf("got %s, want %s", got.RequestURI, want)
	}
	if got.Method != http.MethodGet || got.ContentLength != 0 || len(got.TransferEncoding) > 0 ||
		got.Header.Get("Referer") != "" {
		t.Errorf("got %s, length %d, encoding %v, header %v; want a GET without body or Referer",
			got.Method, got.ContentLength, got.TransferEncoding, got.Header)
	}
}

func TestTokenPrintsAsSecret(t *testing.T) {
	holder := struct{ hidden justoneapi.Token }{token}
	hex := fmt.Sprintf("%x", justoneapitest.Token)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %p"} {
		for _, value := range []any{token, &token, holder, &holder, []any{token}, map[string]any{"t": holder}} {
			text := fmt.Sprintf(verb, value)
			if strings.Contains(text, justoneapitest.Token) || strings.Contains(text, hex) {
				t.Errorf("%s of %T shows the token: %s", verb, value, text)
			}
		}
	}
	if text, err := json.Marshal(token); err != nil || string(text) != `"\u003csecret\u003e"` {
		t.Errorf("as JSON: got %s, %v", text, err)
	}
}
