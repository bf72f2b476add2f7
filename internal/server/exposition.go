package server

import (
	"bytes"
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

// exposition exposes the metrics of the configuration in force, and calls nobody.
type exposition struct {
	inForce    func() *inForce
	byRegistry http.Handler // in any format
	rendering  rendering
	errorLog   *errorLog
}

// newExposition returns the handler of an [exposition], which compresses.
func newExposition(inForce func() *inForce, rendering rendering, logger log.Logger) http.Handler {
	errorLog := &errorLog{logger: logger, sometimes: rate.Sometimes{Interval: time.Minute}}
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return inForce().registry.Gather() })
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		panic(err) // the options do not depend on anything
	}
	return compressed(&exposition{inForce, promhttp.HandlerFor(gather, promhttp.HandlerOpts{
		ErrorLog:           errorLog,
		ErrorHandling:      promhttp.ContinueOnError, // one bad series must not cost the others
		DisableCompression: true,
	}), rendering, errorLog})
}

// ServeHTTP implements [http.Handler]. Prometheus takes text, of all metrics,
// unless it is told otherwise: that is fast.
func (e *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	if format.FormatType() != expfmt.TypeTextPlain || r.URL.Query().Has("name[]") {
		e.serveByRegistry(w, r)
		return
	}
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Content-Type", string(format))
	f := e.inForce()
	families, err := f.common.Gather()
	if err != nil {
		e.errorLog.Println("error gathering metrics:", err)
	}
	if err := f.view.WriteText(w, families); err != nil {
		e.errorLog.Println("error writing metrics:", err)
	}
}

// serveByRegistry answers in any format. Of 10,000 users a registry has some 50 MB:
// it must not be there for many at a time, nor until a slow client has read.
func (e *exposition) serveByRegistry(w http.ResponseWriter, r *http.Request) {
	answer := &buffered{ResponseWriter: w}
	if !e.rendering.do(r.Context(), func() { e.byRegistry.ServeHTTP(answer, r) }) {
		return
	}
	if _, err := answer.body.WriteTo(w); err != nil {
		e.errorLog.Println("error writing metrics:", err)
	}
}

// buffered keeps the body of an answer.
type buffered struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements [http.ResponseWriter].
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

// errorLog is a [promhttp.Logger]. A scraper that always hangs up fills no disk.
type errorLog struct {
	logger    log.Logger
	sometimes rate.Sometimes
}

func (l *errorLog) Println(v ...any) {
	l.sometimes.Do(func() {
		level.Error(l.logger).Log("msg", "Exposing metrics", "err", strings.TrimSpace(fmt.Sprintln(v...)))
	})
}
