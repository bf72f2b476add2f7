package exportertest

import (
	"fmt"
	"net/http"
	"time"
)

// ScrapeTransport adds the header with the scrape timeout.
type ScrapeTransport time.Duration

// RoundTrip implements [http.RoundTripper].
func (timeout ScrapeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(time.Duration(timeout).Seconds()))
	return http.DefaultTransport.RoundTrip(r)
}
