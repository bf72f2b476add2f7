//go:build e2e || crash || replicas

package e2e

import (
	"fmt"
	"net/http"
	"time"
)

// scrapeTransport adds the header with the scrape timeout.
type scrapeTransport time.Duration

func (timeout scrapeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(time.Duration(timeout).Seconds()))
	return http.DefaultTransport.RoundTrip(r)
}
