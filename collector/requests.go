package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// requestMetrics measures the requests. It is a [refresh.Observer] and a [prometheus.Collector].
type requestMetrics struct {
	requests, billed prometheus.Counter
	duration         prometheus.Histogram
	inFlight         prometheus.Gauge
	errors           *errorCounter
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bilibili_api_requests_total",
			Help: "API requests, including failed connections.",
		}),
		billed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bilibili_api_billed_requests_total",
			Help: "API responses that the vendor bills (code 0 or 201).",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bilibili_api_request_duration_seconds",
			Help:    "Duration of API requests, including failures.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bilibili_api_requests_in_flight",
			Help: "Number of in-flight API requests.",
		}),
		errors: newErrorCounter(),
	}
}

func (m *requestMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.billed, m.duration, m.inFlight, m.errors}
}

// meanDuration returns how long requests have taken on average; 0 before the first.
func (m *requestMetrics) meanDuration() time.Duration {
	var metric dto.Metric
	if err := m.duration.Write(&metric); err != nil || metric.GetHistogram().GetSampleCount() == 0 {
		return 0
	}
	h := metric.GetHistogram()
	return time.Duration(h.GetSampleSum() / float64(h.GetSampleCount()) * float64(time.Second))
}

// Describe implements [prometheus.Collector].
func (m *requestMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *requestMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

// RequestStarted implements [refresh.Observer].
func (m *requestMetrics) RequestStarted() (finished func(failure *justoneapi.Error)) {
	start := time.Now()
	m.requests.Inc()
	m.inFlight.Inc()
	return func(failure *justoneapi.Error) {
		m.inFlight.Dec()
		m.duration.Observe(time.Since(start).Seconds())
		if failure != nil {
			m.errors.inc(failure.Code)
		}
		if failure == nil || failure.Billing == justoneapi.Billed {
			m.billed.Inc()
		}
	}
}
