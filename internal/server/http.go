package server

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
)

const (
	// timeoutHeader is the header in which Prometheus sends its scrape_timeout.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultScrapeTimeout is used when the timeout header is missing. It is the shortest default of the scrapers that
	// send none.
	defaultScrapeTimeout = 5 * time.Second
	// maxScrapeTimeout limits the timeout header.
	maxScrapeTimeout = 10 * time.Minute
	// clientTimeout is how long a client may take to send a request or to read a response.
	clientTimeout = 30 * time.Second
)

// NewHTTPServer returns an HTTP server for an exporter. It disconnects clients that do not send or read in time.
func NewHTTPServer(e *Exporter, errorLog *stdlog.Logger) *http.Server {
	return &http.Server{
		Handler:           e,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       clientTimeout,
		WriteTimeout:      clientTimeout, // a refresh does not count, see Exporter.refresh
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          errorLog,
	}
}

// plainPath matches paths without characters that are special to an HTTP server or a proxy.
var plainPath = regexp.MustCompile(`^(/[\w.~:@-]+)*/?$`)

// checkTelemetryPath reports why the metrics cannot be served at a path.
func checkTelemetryPath(telemetry string) error {
	switch {
	case !plainPath.MatchString(telemetry) || path.Clean(telemetry) != telemetry:
		return fmt.Errorf("--web.telemetry-path: %q is not a plain path such as /metrics", telemetry)
	case telemetry == "/" || telemetry == "/config" || strings.HasPrefix(telemetry+"/", "/-/"):
		return fmt.Errorf("--web.telemetry-path: %q is used by another page", telemetry)
	}
	return nil
}

// checkGrafanaURL reports why a URL cannot be that of Grafana.
func checkGrafanaURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return errors.New("--web.grafana-url: want a URL such as https://grafana.example.org, without password and query")
	}
	return nil
}

// newMux returns the handler of all pages. Other paths are not found.
func (e *Exporter) newMux() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range e.routes() {
		mux.Handle(pattern, handler)
	}
	return withHeaders(withoutBody(mux))
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
		routes["/-/reload"] = http.HandlerFunc(e.reloadDisabled)
	}
	return routes
}

// withHeaders sets the headers of every page. Only the status page may load anything, and sets its own policy.
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

// withoutBody rejects requests with a body at once, because a client that never sends it must not take a slot.
// net/http closes the connection when the body has arrived or the read timeout has passed.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			writePlain(w, http.StatusRequestEntityTooLarge, "Requests with a body are not accepted.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// writePlain writes a line of plain text.
func writePlain(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, line)
}

// metricsHandler returns the handler of the metrics. Only a GET refreshes them first.
func (e *Exporter) metricsHandler() http.Handler {
	expose := newExposition(e.current.Load, e.renderSlots, e.options.Logger)
	sometimes := rate.Sometimes{Interval: time.Minute}
	rejected := func() {
		sometimes.Do(func() {
			level.Warn(e.options.Logger).Log("msg", "Scrapes rejected, because there are too many at a time",
				"max_requests", e.options.MaxRequests,
				"advice", "Check for many scrapers, or for clients that do not read responses.")
		})
	}
	handler := limit(e.options.MaxRequests, rejected)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			e.refresh(w, r)
		}
		expose.ServeHTTP(w, r)
	}))
	if e.options.DisableExporterMetrics {
		return handler
	}
	return promhttp.InstrumentMetricHandler(e.registry, handler)
}

// refresh refreshes the values within the timeout of a scrape.
func (e *Exporter) refresh(w http.ResponseWriter, r *http.Request) {
	now := wallTime()
	e.lastScrape.Store(&now)
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r.Header, e.options.TimeoutOffset))
	defer cancel()
	// The client's time to read the response starts after the refresh. HTTP/2 resets a stream whose write deadline
	// passes, even if nothing is written. The read timeout needs no care, because it applies to bodies, and a scrape has
	// none.
	connection := http.NewResponseController(w)
	connection.SetWriteDeadline(time.Time{}) //nolint:errcheck // not every writer supports deadlines
	e.collector.Refresh(ctx)
	connection.SetWriteDeadline(time.Now().Add(clientTimeout)) //nolint:errcheck // likewise
}

// scrapeTimeout returns the timeout of a scrape minus the offset, but at least half of it.
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

// limit returns a middleware that limits the number of concurrent requests, counted over all handlers that it wraps.
// For others it calls rejected and responds with status 503. 0 is no limit.
func limit(maxRequests int, rejected func()) func(http.Handler) http.Handler {
	if maxRequests == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	slots := make(chan struct{}, maxRequests)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				next.ServeHTTP(w, r)
			default:
				rejected()
				writePlain(w, http.StatusServiceUnavailable, fmt.Sprintf(
					"Limit of concurrent requests reached (--web.max-requests=%d), try again later.", maxRequests))
			}
		})
	}
}
