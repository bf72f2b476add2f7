package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/time/rate"
)

// exposition serves the metrics of the current configuration. It makes no API requests.
type exposition struct {
	current         func() *loadedConfig
	registryHandler http.Handler // serves any format
	renderSlots     renderSlots
	errorLog        *errorLog
}

// newExposition returns a compressing handler of an [exposition].
func newExposition(current func() *loadedConfig, slots renderSlots, logger log.Logger) http.Handler {
	errorLog := &errorLog{logger: logger, sometimes: rate.Sometimes{Interval: time.Minute}}
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return current().registry.Gather() })
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		panic(err) // the options are constant
	}
	return compress(&exposition{current, promhttp.HandlerFor(gather, promhttp.HandlerOpts{
		ErrorLog:           errorLog,
		ErrorHandling:      promhttp.ContinueOnError, // one bad series must not suppress the others
		DisableCompression: true,
	}), slots, errorLog})
}

// ServeHTTP implements [http.Handler]. It has a fast path for what Prometheus usually requests, all metrics in the text
// format.
func (e *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	if format.FormatType() != expfmt.TypeTextPlain || r.URL.Query().Has("name[]") {
		e.serveRegistry(w, r)
		return
	}
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Content-Type", string(format))
	current := e.current()
	families, err := current.common.Gather()
	if err != nil {
		e.errorLog.Println("error gathering metrics:", err)
	}
	if err := current.snapshot.WriteText(w, families); err != nil {
		e.errorLog.Println("error writing metrics:", err)
	}
}

// serveRegistry serves any format. For 10,000 users a gathered registry takes some 50 MB, so few are gathered at a
// time, and none is kept until a slow client has read the response.
func (e *exposition) serveRegistry(w http.ResponseWriter, r *http.Request) {
	response := &bufferedWriter{ResponseWriter: w}
	if !e.renderSlots.do(r.Context(), func() { e.registryHandler.ServeHTTP(response, r) }) {
		return
	}
	if _, err := response.body.WriteTo(w); err != nil {
		e.errorLog.Println("error writing metrics:", err)
	}
}

// bufferedWriter buffers the body of a response.
type bufferedWriter struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements [http.ResponseWriter].
func (w *bufferedWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// errorLog is a [promhttp.Logger] with a rate limit, because a client that always disconnects must not fill a disk.
type errorLog struct {
	logger    log.Logger
	sometimes rate.Sometimes
}

func (l *errorLog) Println(v ...any) {
	l.sometimes.Do(func() {
		level.Error(l.logger).Log("msg", "Error exposing metrics", "err", strings.TrimSpace(fmt.Sprintln(v...)))
	})
}

// renderSlots limits how many responses are rendered at a time, as each takes memory, and CPU time from scrapes.
type renderSlots chan struct{}

// do calls f when a slot is free. It returns false if ctx ends first.
func (s renderSlots) do(ctx context.Context, f func()) bool {
	select {
	case s <- struct{}{}:
		defer func() { <-s }()
		f()
		return true
	case <-ctx.Done():
		return false
	}
}
