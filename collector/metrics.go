package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// gauge is the description of a gauge.
type gauge struct{ *prometheus.Desc }

func newGauge(name, help string, labels ...string) gauge {
	return gauge{prometheus.NewDesc(name, help, labels, nil)}
}

func (g gauge) emit(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(g.Desc, prometheus.GaugeValue, value, labels...)
}

// userMetrics describes the metrics that have a series for each user.
type userMetrics struct {
	infoLabels []string // of info, beside wmid and name

	followers, following, info, up, lastSuccess, lastError, interval gauge
}

func newUserMetrics(infoLabels []string) userMetrics {
	return userMetrics{
		infoLabels: infoLabels,
		followers: newGauge("bilibili_followers",
			"Followers of the user, as last obtained; cached by the exporter between calls.", "wmid"),
		following: newGauge("bilibili_following",
			"Users whom the user follows, as last obtained; cached by the exporter between calls.", "wmid"),
		info: newGauge("bilibili_user_info",
			"Name and labels of the user, from the configuration; always 1.", append([]string{"wmid", "name"}, infoLabels...)...),
		up: newGauge("bilibili_up",
			"Whether the last completed call for the user gave a value (1) or not (0).", "wmid"),
		lastSuccess: newGauge("bilibili_last_success_timestamp_seconds",
			"When the last value of the user was obtained, in Unix time.", "wmid"),
		lastError: newGauge("bilibili_last_error_info",
			"1 while the last completed call for the user is a failure, with its code.", "wmid", "code"),
		interval: newGauge("bilibili_user_interval_seconds",
			"Time between two calls for the user that is in force now, stretch and back-off included.", "wmid"),
	}
}

func (m *userMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, g := range []gauge{m.followers, m.following, m.info, m.up, m.lastSuccess, m.lastError, m.interval} {
		ch <- g.Desc
	}
}

func (m *userMetrics) emit(ch chan<- prometheus.Metric, user UserState) {
	m.emitInfo(ch, user.User)
	m.emitState(ch, user.State, user.Shown)
}

func (m *userMetrics) emitInfo(ch chan<- prometheus.Metric, user User) {
	values := []string{formatWMID(user.WMID), user.Name}
	for _, label := range m.infoLabels {
		values = append(values, user.Labels[label])
	}
	m.info.emit(ch, 1, values...)
}

func (m *userMetrics) emitState(ch chan<- prometheus.Metric, state quota.State, shown bool) {
	wmid := formatWMID(state.WMID)
	m.interval.emit(ch, state.Interval.Seconds(), wmid)
	if shown {
		m.followers.emit(ch, float64(state.Value.Followers), wmid)
		m.following.emit(ch, float64(state.Value.Following), wmid)
	}
	if !state.Value.At.IsZero() {
		m.lastSuccess.emit(ch, unixSeconds(state.Value.At), wmid)
	}
	switch {
	case !state.Ended:
	case state.Last.Verdict == quota.Success:
		m.up.emit(ch, 1, wmid)
	default:
		m.up.emit(ch, 0, wmid)
		m.lastError.emit(ch, 1, wmid, state.Last.Code)
	}
}

// unixSeconds returns t in Unix time, to the millisecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// requestMetrics measures the calls. It is a [prometheus.Collector].
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
			Help: "Requests to Just One API, those included that found no connection.",
		}),
		billed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bilibili_api_billed_requests_total",
			Help: "Answers of Just One API that the vendor bills (code 0 or 201).",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bilibili_api_request_duration_seconds",
			Help:    "Time that calls of Just One API took, failed ones included.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 45, 60},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bilibili_api_requests_in_flight",
			Help: "Calls of Just One API that wait for their answer.",
		}),
		errors: newErrorCounter(),
	}
}

func (m *requestMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.billed, m.duration, m.inFlight, m.errors}
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

// begin counts a request that is about to be sent, and returns what to call
// when it has ended; failure is nil for a success.
func (m *requestMetrics) begin() (end func(failure *justoneapi.Error)) {
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
