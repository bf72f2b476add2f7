package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
)

const (
	// defaultScrapeTimeout is how long a scraper waits that does not tell:
	// Prometheus' default.
	defaultScrapeTimeout = 10 * time.Second
	// maxScrapeTimeout bounds what a scraper may tell.
	maxScrapeTimeout = 10 * time.Minute
	// writeTimeout is how long a client has to read an answer.
	writeTimeout = 30 * time.Second
	// timeoutHeader is where Prometheus tells its scrape_timeout.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
)

// plainPath matches paths that mean the same everywhere.
var plainPath = regexp.MustCompile(`^(/[\w.~:@-]+)*/?$`)

// reservedPaths are those that the telemetry path cannot have, beside all
// below /-/.
var reservedPaths = []string{"/", "/config"}

// checkTelemetryPath refuses what the path of the metrics cannot be.
func checkTelemetryPath(telemetry string) error {
	switch {
	case !plainPath.MatchString(telemetry) || path.Clean(telemetry) != telemetry:
		return fmt.Errorf("--web.telemetry-path: %q is not a plain path such as /metrics", telemetry)
	case slices.Contains(reservedPaths, telemetry) || strings.HasPrefix(telemetry+"/", "/-/"):
		return fmt.Errorf("--web.telemetry-path: %q is in use by another page: choose another path", telemetry)
	}
	return nil
}

// newMux returns the handler of all pages. What it does not know is 404.
func (e *Exporter) newMux() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range e.routes() {
		mux.Handle(pattern, handler)
	}
	return withDeadline(withHeaders(withoutBody(mux)))
}

// routes returns the handlers of all pages, by pattern.
func (e *Exporter) routes() map[string]http.Handler {
	limitPages := limit(e.options.MaxRequests, func() {})
	routes := map[string]http.Handler{
		"GET " + e.options.TelemetryPath: e.metricsHandler(),
		"GET /{$}":                       limitPages(http.HandlerFunc(e.statusPage)),
		"GET /config":                    limitPages(http.HandlerFunc(e.configPage)),
		"GET /-/healthy":                 http.HandlerFunc(healthy),
		"GET /-/ready":                   http.HandlerFunc(e.ready),
	}
	if e.options.EnableLifecycle {
		routes["POST /-/reload"] = limitPages(e.reloadHandler())
	} else {
		routes["/-/reload"] = http.HandlerFunc(refuseReload)
	}
	return routes
}

// withHeaders sets the headers that every page has. None but the status page,
// which says so itself, may load anything.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// withoutBody refuses requests with a body, which no page wants, at once:
// waiting for the body would keep a slot for as long as the client likes.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			writeText(w, http.StatusRequestEntityTooLarge, "A request to bilibili_exporter has no body.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// metricsHandler returns the handler that refreshes within the deadline of the
// scrape and then exposes the registry. Only a GET refreshes.
func (e *Exporter) metricsHandler() http.Handler {
	expose := newExposition(e.inForce.Load, e.rendering, e.options.Logger)
	sometimes := rate.Sometimes{Interval: time.Minute}
	refused := func() {
		sometimes.Do(func() {
			level.Warn(e.options.Logger).Log("msg", "Scrapes are refused: too many at a time, or clients that do not read their answers", "max_requests", e.options.MaxRequests)
		})
	}
	handler := limit(e.options.MaxRequests, refused)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			now := time.Now()
			e.scraped.Store(&now)
			ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r.Header, e.options.TimeoutOffset))
			e.collector.Refresh(ctx)
			cancel()
		}
		expose.ServeHTTP(w, r)
	}))
	if e.options.DisableExporterMetrics {
		return handler
	}
	return promhttp.InstrumentMetricHandler(e.registry, handler)
}

// withDeadline gives clients some time to read an answer, from its first byte
// on: one that does not must keep neither its slot nor its connection.
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&deadlineWriter{ResponseWriter: w}, r)
	})
}

// deadlineWriter sets the write deadline of its connection when an answer
// begins. It stays, since the end of an answer is written after its handler has
// returned; the next answer moves it.
type deadlineWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *deadlineWriter) begin() {
	if !w.begun {
		w.begun = true
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // some writers cannot
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *deadlineWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *deadlineWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// scrapeTimeout returns how long a scrape may take: what the scraper tells,
// less the offset, but at least half of it.
func scrapeTimeout(header http.Header, offset time.Duration) time.Duration {
	timeout := defaultScrapeTimeout
	seconds, err := strconv.ParseFloat(header.Get(timeoutHeader), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange) || !(seconds > 0):
	case seconds > maxScrapeTimeout.Seconds():
		timeout = maxScrapeTimeout
	default:
		timeout = time.Duration(seconds * float64(time.Second))
	}
	return max(timeout-offset, timeout/2)
}

// limit returns what makes handlers answer 503 to requests beyond the given
// number at a time, of all of them together, and call refused; 0 is no limit.
func limit(requests int, refused func()) func(http.Handler) http.Handler {
	if requests == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	slots := make(chan struct{}, requests)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				next.ServeHTTP(w, r)
			default:
				refused()
				writeText(w, http.StatusServiceUnavailable, fmt.Sprintf("Too many requests at a time (--web.max-requests=%d), try again later.", requests))
			}
		})
	}
}
