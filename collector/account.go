package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// accountMetrics are the metrics of the account: its budget and pauses.
type accountMetrics struct {
	limit, used, remaining, reset, stretch gauge
	paused, resume                         gauge
	balance, balanceTime                   gauge
	suppressed                             *prometheus.Desc
}

func newAccountMetrics() accountMetrics {
	return accountMetrics{
		limit:     newGauge("bilibili_quota_daily_limit", "Configured daily budget of requests; 0 = no limit."),
		used:      newGauge("bilibili_quota_used", "Requests charged to the budget in this quota day."),
		remaining: newGauge("bilibili_quota_remaining", "Requests left in this quota day; absent without a limit."),
		reset:     newGauge("bilibili_quota_reset_timestamp_seconds", "End of the quota day, as a Unix timestamp."),
		stretch: newGauge("bilibili_quota_stretch_ratio",
			"Factor applied to all intervals to stay within the daily limit (1 = none)."),
		paused: newGauge("bilibili_api_paused", "Whether requests are paused (1) or not (0), by reason.", "reason"),
		resume: newGauge("bilibili_api_resume_timestamp_seconds",
			"Time of the next allowed probe during a pause, as a Unix timestamp; 0 without a pause."),
		balance: newGauge("bilibili_account_balance",
			"Balance of the account, cached by the exporter between requests.", "currency"),
		balanceTime: newGauge("bilibili_account_balance_timestamp_seconds",
			"Time of the last balance received, as a Unix timestamp."),
		suppressed: prometheus.NewDesc("bilibili_suppressed_requests_total",
			"Users skipped at a scrape although their minimum interval had elapsed, by reason.", []string{"reason"}, nil),
	}
}

func (m *accountMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, g := range []gauge{
		m.limit, m.used, m.remaining, m.reset, m.stretch, m.paused, m.resume, m.balance, m.balanceTime,
	} {
		ch <- g.Desc
	}
	ch <- m.suppressed
}

func (m *accountMetrics) emit(ch chan<- prometheus.Metric, account quota.Account, balanceInterval time.Duration) {
	m.limit.emit(ch, float64(account.Limit))
	m.used.emit(ch, float64(account.Used))
	if account.Limit > 0 {
		m.remaining.emit(ch, float64(account.Remaining))
	}
	m.reset.emit(ch, unixSeconds(account.Reset))
	m.stretch.emit(ch, account.Ratio)
	for _, reason := range quota.Reasons() {
		paused := 0.
		if account.Pause.Reason == reason {
			paused = 1
		}
		m.paused.emit(ch, paused, string(reason))
	}
	resume := 0.
	if account.Pause.Reason != "" {
		resume = unixSeconds(account.Pause.Resume)
	}
	m.resume.emit(ch, resume)
	m.emitBalance(ch, account, balanceInterval)
	for reason, count := range account.Suppressed {
		ch <- prometheus.MustNewConstMetric(m.suppressed, prometheus.CounterValue, float64(count), string(reason))
	}
}

// emitBalance emits the balance unless it is not requested, not known or has expired.
func (m *accountMetrics) emitBalance(ch chan<- prometheus.Metric, account quota.Account, interval time.Duration) {
	if interval == 0 || account.Balance.At.IsZero() {
		return
	}
	m.balanceTime.emit(ch, unixSeconds(account.Balance.At))
	if !account.BalanceExpired(interval, time.Now()) {
		m.balance.emit(ch, account.Balance.Amount, account.Balance.Currency)
	}
}
