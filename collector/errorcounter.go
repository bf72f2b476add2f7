package collector

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

const (
	// maxCodes is how many codes upstream_error_code tells apart: codes come
	// from outside, and each is a series for ever.
	maxCodes = 100
	// otherCode stands for the codes beyond.
	otherCode = "other"
)

// errorCounter is the metric upstream_error_code.
type errorCounter struct {
	*prometheus.CounterVec

	mu    sync.Mutex // protects the following fields
	codes map[string]bool
}

// newErrorCounter returns a counter whose known codes are 0.
func newErrorCounter() *errorCounter {
	c := &errorCounter{
		CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_error_code",
			Help: "Failed calls by code: the API's or Bilibili's own number, or timeout, network, http_<status>, malformed, mismatch.",
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

// label returns the label value under which a code is counted.
func (c *errorCounter) label(code string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.codes[code] && len(c.codes) >= maxCodes {
		return otherCode
	}
	c.codes[code] = true
	return code
}
