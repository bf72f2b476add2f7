package collector

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

const (
	// maxCodes caps the distinct codes, because responses contain arbitrary ones, and each is a series until the process
	// ends.
	maxCodes = 100
	// otherCode replaces further codes.
	otherCode = "other"
)

// errorCounter is the metric upstream_error_code.
type errorCounter struct {
	*prometheus.CounterVec

	mu    sync.Mutex // protects the following fields
	codes map[string]bool
}

// newErrorCounter returns a counter whose documented codes are 0.
func newErrorCounter() *errorCounter {
	c := &errorCounter{
		CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_error_code",
			Help: "Failed requests by code: the API's or Bilibili's own number, or timeout, network, http_<status>, " +
				"malformed, mismatch.",
		}, []string{"code"}),
		codes: make(map[string]bool),
	}
	for _, code := range justoneapi.KnownCodes() {
		c.codes[code] = true
		c.WithLabelValues(code)
	}
	c.WithLabelValues(otherCode)
	return c
}

func (c *errorCounter) inc(code string) {
	c.WithLabelValues(c.label(code)).Inc()
}

// label returns the label value that a code is counted as.
func (c *errorCounter) label(code string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.codes[code] && len(c.codes) >= maxCodes {
		return otherCode
	}
	c.codes[code] = true
	return code
}
