package server

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// badMetric is a collector whose metric is invalid.
type badMetric struct{ *prometheus.Desc }

func (m badMetric) Describe(ch chan<- *prometheus.Desc) { ch <- m.Desc }

func (m badMetric) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(m.Desc, errors.New("out of order"))
}

// brokenWriter is a client that has disconnected.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// exposed returns the exposition of an exporter for one user, with some more collectors, and its log.
func exposed(t *testing.T, more ...prometheus.Collector) (http.Handler, *bytes.Buffer) {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(t.TempDir(), "b.yml"), strings.NewReader("{api: {token: t}, users: [1]}"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cfg, Options{Logger: log.NewNopLogger(), TelemetryPath: "/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(t.Context()) })
	current := e.current.Load()
	current.common.MustRegister(more...)
	current.registry.MustRegister(more...)
	logged := &bytes.Buffer{}
	return newExposition(e.current.Load, make(renderSlots, 1), log.NewLogfmtLogger(logged)), logged
}

// TestBadMetric checks that an invalid metric does not suppress the others.
func TestBadMetric(t *testing.T) {
	for _, target := range []string{"/metrics", "/metrics?name[]=bilibili_user_interval_seconds"} {
		exposition, logged := exposed(t, badMetric{prometheus.NewDesc("bilibili_bad", "Always invalid.", nil, nil)})
		for range 2 {
			w := httptest.NewRecorder()
			exposition.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
			want := "\nbilibili_user_interval_seconds{wmid=\"1\"} 900\n"
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: got status %d:\n%s", target, w.Code, w.Body)
			}
		}
		if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "out of order") {
			t.Errorf("%s: got log\n%s", target, got)
		}
	}
}

// TestClientDisconnects checks that the errors of disconnected clients are logged once.
func TestClientDisconnects(t *testing.T) {
	exposition, logged := exposed(t)
	for range 2 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		exposition.ServeHTTP(brokenWriter{httptest.NewRecorder()}, r)
	}
	if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "broken pipe") {
		t.Errorf("got log\n%s", got)
	}
}

// blockedWriter is a client that does not read.
type blockedWriter struct {
	*httptest.ResponseRecorder
	reached chan<- struct{}
	read    <-chan struct{}
}

func (w blockedWriter) Write(p []byte) (int, error) {
	w.reached <- struct{}{}
	<-w.read
	return len(p), nil
}

// TestSlowClientsTakeNoSlot checks that clients that do not read do not keep the only slot for rendering.
func TestSlowClientsTakeNoSlot(t *testing.T) {
	exposition, _ := exposed(t)
	const target = "/metrics?name[]=bilibili_user_interval_seconds"
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	reached, read := make(chan struct{}, 100), make(chan struct{})
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() { exposition.ServeHTTP(blockedWriter{httptest.NewRecorder(), reached, read}, request) })
		select {
		case <-reached:
		case <-time.After(10 * time.Second):
			t.Error("a client that does not read blocks others")
		}
	}
	close(read)
	clients.Wait()
}
