package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// accountMetrics describes the metrics of the account: its budget and pauses.
type accountMetrics struct {
	limit, used, remaining, reset, stretch gauge
	paused, resume                         gauge
	suppressed                             *prometheus.Desc
}

func newAccountMetrics() accountMetrics {
	return accountMetrics{
		limit:     newGauge("bilibili_quota_daily_limit", "Requests that the configuration allows in a quota day; 0 is no limit."),
		used:      newGauge("bilibili_quota_used", "Requests begun in this quota day, and those that were running when it began."),
		remaining: newGauge("bilibili_quota_remaining", "Requests left in this quota day; absent without a limit."),
		reset:     newGauge("bilibili_quota_reset_timestamp_seconds", "When the quota day ends, in Unix time."),
		stretch:   newGauge("bilibili_quota_stretch_ratio", "Factor by which every interval is stretched now to keep to the limit; 1 is not at all."),
		paused:    newGauge("bilibili_api_paused", "1 while calls are paused because the API refuses the account, by reason.", "reason"),
		resume:    newGauge("bilibili_api_resume_timestamp_seconds", "When the next call may probe whether a pause is over, in Unix time; 0 without a pause."),
		suppressed: prometheus.NewDesc("bilibili_suppressed_requests_total",
			"Users passed over at a scrape although their minimum interval was over, by reason.", []string{"reason"}, nil),
	}
}

func (m *accountMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, g := range []gauge{m.limit, m.used, m.remaining, m.reset, m.stretch, m.paused, m.resume} {
		ch <- g.Desc
	}
	ch <- m.suppressed
}

func (m *accountMetrics) emit(ch chan<- prometheus.Metric, status quota.Account) {
	m.limit.emit(ch, float64(status.Limit))
	m.used.emit(ch, float64(status.Used))
	if status.Limit > 0 {
		m.remaining.emit(ch, float64(status.Remaining))
	}
	m.reset.emit(ch, unixSeconds(status.Reset))
	m.stretch.emit(ch, status.Ratio)
	for _, reason := range quota.Reasons() {
		paused := 0.
		if status.Pause.Reason == reason {
			paused = 1
		}
		m.paused.emit(ch, paused, string(reason))
	}
	resume := 0.
	if status.Pause.Reason != "" {
		resume = unixSeconds(status.Pause.Resume)
	}
	m.resume.emit(ch, resume)
	for reason, count := range status.Suppressed {
		ch <- prometheus.MustNewConstMetric(m.suppressed, prometheus.CounterValue, float64(count), string(reason))
	}
}
