package exporter

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
)

const (
	// defaultScrapeTimeout is how long a scraper waits that does not tell:
	// Prometheus' default.
	defaultScrapeTimeout = 10 * time.Second
	// maxScrapeTimeout bounds what a scraper may tell.
	maxScrapeTimeout = 10 * time.Minute
	// writeTimeout is how long a client has to read the metrics.
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
func (e *Exporter) newMux(registry *prometheus.Registry, options Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", landingPage(options.TelemetryPath))
	mux.Handle("GET "+options.TelemetryPath, e.metricsHandler(registry, options))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "bilibili_exporter is healthy.")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if e.closing.Load() {
			writeText(w, http.StatusServiceUnavailable, "bilibili_exporter is shutting down.")
			return
		}
		writeText(w, http.StatusOK, "bilibili_exporter is ready.")
	})
	return withoutBody(mux)
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
func (e *Exporter) metricsHandler(registry *prometheus.Registry, options Options) http.Handler {
	expose := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      errorLog{options.Logger},
		ErrorHandling: promhttp.ContinueOnError, // one bad series must not cost the others
	})
	handler := limit(options.MaxRequests, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r.Header, options.TimeoutOffset))
			e.collector.Refresh(ctx)
			cancel()
		}
		// A client that does not read must not keep its slot.
		connection := http.NewResponseController(w)
		connection.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // some writers cannot
		expose.ServeHTTP(w, r)
		connection.SetWriteDeadline(time.Time{}) //nolint:errcheck // see above
	}))
	if options.DisableExporterMetrics {
		return handler
	}
	return promhttp.InstrumentMetricHandler(registry, handler)
}

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

// limit answers 503 to requests beyond the given number at a time; 0 is no limit.
func limit(requests int, next http.Handler) http.Handler {
	if requests == 0 {
		return next
	}
	slots := make(chan struct{}, requests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			writeText(w, http.StatusServiceUnavailable, fmt.Sprintf("Too many scrapes at a time (--web.max-requests=%d), try again later.", requests))
		}
	})
}

// errorLog is a [promhttp.Logger].
type errorLog struct{ log.Logger }

func (l errorLog) Println(v ...any) {
	level.Error(l.Logger).Log("msg", "Exposing metrics", "err", strings.TrimSpace(fmt.Sprintln(v...)))
}

//go:embed landing.html
var files embed.FS

// landingPage returns the page at /. Its links are relative, for proxies that
// serve it under a path.
func landingPage(telemetry string) http.Handler {
	page := template.Must(template.ParseFS(files, "landing.html"))
	data := struct{ Version, Metrics string }{version.Info(), strings.TrimPrefix(telemetry, "/")}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		page.Execute(w, data) //nolint:errcheck // the client may have left
	})
}
