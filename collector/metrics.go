package collector

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// userGauge is a metric with at most one series for each user, labeled wmid.
type userGauge struct {
	name, help string
	// value returns the user's value, if there is one.
	value func(s *quota.UserState, exposed bool) (value float64, ok bool)
}

var userGauges = [...]userGauge{
	{"bilibili_followers", "Number of followers, cached by the exporter between requests.",
		func(s *quota.UserState, exposed bool) (float64, bool) { return float64(s.Value.Followers), exposed }},
	{"bilibili_following", "Number of users that the user follows, cached by the exporter between requests.",
		func(s *quota.UserState, exposed bool) (float64, bool) { return float64(s.Value.Following), exposed }},
	{"bilibili_last_success_timestamp_seconds", "Time of the last value received, as a Unix timestamp.",
		func(s *quota.UserState, _ bool) (float64, bool) { return unixSeconds(s.Value.At), !s.Value.At.IsZero() }},
	{"bilibili_up", "Whether the last completed request for the user returned a value (1) or not (0).",
		func(s *quota.UserState, _ bool) (float64, bool) {
			if failed(s) {
				return 0, true
			}
			return 1, s.Completed
		}},
	{"bilibili_user_interval_seconds",
		"Effective interval between two requests for the user, pacing and backoff included.",
		func(s *quota.UserState, _ bool) (float64, bool) { return s.Interval.Seconds(), true }},
}

// failed reports whether the last completed request failed.
func failed(s *quota.UserState) bool { return s.Completed && s.Last.Verdict != quota.VerdictSuccess }

const (
	lastErrorName = "bilibili_last_error_info"
	lastErrorHelp = "1 while the last completed request for the user is a failure, with its code."

	infoName = "bilibili_user_info"
	infoHelp = "Name and labels of the user, from the configuration; always 1."
)

// userMetrics are the metrics of users that requests change.
type userMetrics struct {
	gauges    []gauge // of userGauges
	lastError gauge
}

func newUserMetrics() userMetrics {
	m := userMetrics{lastError: newGauge(lastErrorName, lastErrorHelp, "wmid", "code")}
	for _, g := range userGauges {
		m.gauges = append(m.gauges, newGauge(g.name, g.help, "wmid"))
	}
	return m
}

func (m *userMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, g := range append([]gauge{m.lastError}, m.gauges...) {
		ch <- g.Desc
	}
}

func (m *userMetrics) emit(ch chan<- prometheus.Metric, user userSample) {
	wmid := formatWMID(user.wmid)
	for i, g := range m.gauges {
		if user.known[i] {
			g.emit(ch, user.values[i], wmid)
		}
	}
	if user.failed {
		m.lastError.emit(ch, 1, wmid, user.code)
	}
}

// userSample is what the metrics expose of a user. It is small, because a scrape creates one for each user.
type userSample struct {
	wmid   int64
	values [len(userGauges)]float64
	known  [len(userGauges)]bool // whether there is a value
	failed bool                  // whether the last completed request failed
	code   string                // with what
}

func newUserSample(state *quota.UserState, exposed bool) userSample {
	sample := userSample{wmid: state.WMID, failed: failed(state)}
	for i, g := range userGauges {
		sample.values[i], sample.known[i] = g.value(state, exposed)
	}
	if sample.failed {
		sample.code = state.Last.Code
	}
	return sample
}

// infoMetric is bilibili_user_info. It is a [prometheus.Collector].
type infoMetric struct {
	gauge
	labels []string // sorted
	users  []User
}

func newInfoMetric(users []User) *infoMetric {
	all := map[string]bool{"wmid": true, "name": true}
	for _, user := range users {
		for label := range user.Labels {
			all[label] = true
		}
	}
	labels := slices.Sorted(maps.Keys(all))
	return &infoMetric{newGauge(infoName, infoHelp, labels...), labels, users}
}

// values returns the values of the labels for a user.
func (m *infoMetric) values(user User) []string {
	values := make([]string, len(m.labels))
	for i, label := range m.labels {
		switch label {
		case "wmid":
			values[i] = formatWMID(user.WMID)
		case "name":
			values[i] = user.Name
		default:
			values[i] = user.Labels[label]
		}
	}
	return values
}

// Describe implements [prometheus.Collector].
func (m *infoMetric) Describe(ch chan<- *prometheus.Desc) { ch <- m.Desc }

// Collect implements [prometheus.Collector].
func (m *infoMetric) Collect(ch chan<- prometheus.Metric) {
	for _, user := range m.users {
		m.emit(ch, 1, m.values(user)...)
	}
}

// unixSeconds returns t as a Unix timestamp, to the millisecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
