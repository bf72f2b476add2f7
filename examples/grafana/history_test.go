//go:build e2e || dashboards

package grafana

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// end is the time at which a history ends and the dashboards are viewed: noon in Shanghai.
var end = time.Date(2026, 1, 20, 4, 0, 0, 0, time.UTC)

// history is what Prometheus has scraped from the exporters of one job.
type history struct {
	creators  int
	instances int // replicas; the first is active until the failover, then the last
	start     time.Time
	until     time.Time                            // end if it is zero
	interval  time.Duration                        // of scrapes
	missing   func(creator int, at time.Time) bool // holes; nil if there are none
	states    bool                                 // creator 6 waits, 7 is stale, and 1 loses followers; there are rules

	wmid string // of the dashboard of a single creator; 2 if it is empty

	// Times before the end; 0 if it did not happen.
	paused   time.Duration // start of an outage
	down     time.Duration // end of the exporter
	failover time.Duration // end of the first instance
}

// file writes the history to a file, and returns its path.
func (h history) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.txt")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(file, 1<<20)
	h.write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// write writes the history as OpenMetrics. The growth of a creator is constant: 100 followers a day for the first, 200
// for the second and so on, from 1000 times as many.
func (h history) write(w *bufio.Writer) {
	until := h.until
	if until.IsZero() {
		until = end
	}
	for at := h.start; !at.After(until); at = at.Add(h.interval) {
		for i := range h.instances {
			h.scrape(w, i, at)
		}
	}
	w.WriteString("# EOF\n") //nolint:errcheck // Flush returns it
}

// scrape writes the samples of one scrape.
func (h history) scrape(w *bufio.Writer, instance int, at time.Time) {
	before := end.Sub(at)
	labels := fmt.Sprintf(`job="bilibili",instance="exporter%d:12233"`, instance+1)
	sample := func(name, more string, value float64) {
		fmt.Fprintf(w, "%s{%s%s} %s %d\n", name, labels, more, strconv.FormatFloat(value, 'f', -1, 64), at.Unix())
	}
	last := instance == h.instances-1
	down := before < h.down || h.instances > 1 && !last && before < h.failover
	sample("up", "", value(!down))
	if down {
		return
	}
	since := h.start
	if last && h.failover > 0 {
		since = end.Add(-h.failover)
	}
	active := !at.Before(since) && (last || h.instances > 1 && before >= h.failover)
	sample("bilibili_exporter_active", "", value(active))
	h.account(sample, at, max(0, at.Sub(since)))
	for c := range h.creators {
		if h.missing == nil || !h.missing(c, at) {
			h.creator(sample, c+1, at)
		}
	}
	if h.states {
		fmt.Fprintf(w, "job_wmid:bilibili_followers:latest{job=\"bilibili\",wmid=\"1\"} 1 %d\n", at.Unix())
		fmt.Fprintf(w, `ALERTS{alertname="BilibiliFollowersPlunged",alertstate="firing",job="bilibili",wmid="1"} 1 %d`+"\n",
			at.Unix())
	}
}

func value(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// creator writes the samples of a creator. Every eighth fails with -404.
func (h history) creator(sample func(name, more string, value float64), c int, at time.Time) {
	wmid := fmt.Sprintf(`,wmid="%d"`, c)
	sample("bilibili_user_info", fmt.Sprintf(`,name="creator %d"%s`, c, wmid), 1)
	if c%8 == 0 {
		sample("bilibili_up", wmid, 0)
		sample("bilibili_last_error_info", wmid+`,code="-404"`, 1)
		sample("bilibili_user_interval_seconds", wmid, 24*3600)
		return
	}
	if h.states && c == 6 {
		sample("bilibili_user_interval_seconds", wmid, 900)
		return
	}
	received := at.Truncate(15 * time.Minute)
	if h.states && c == 7 {
		received = at.Add(-2 * time.Hour)
	}
	if pause := end.Add(-h.paused); received.After(pause) {
		received = pause
	}
	days := received.Sub(h.start).Hours() / 24
	sample("bilibili_followers", wmid, float64(c*100_000+int(days*float64(c)*100)))
	sample("bilibili_following", wmid, float64(c))
	sample("bilibili_up", wmid, value(h.paused == 0))
	if h.paused > 0 {
		sample("bilibili_last_error_info", wmid+`,code="timeout"`, 1)
	}
	sample("bilibili_last_success_timestamp_seconds", wmid, float64(received.Unix()))
	sample("bilibili_user_interval_seconds", wmid, 900)
}

// account writes all other samples. An active instance sends a request for each creator every 15 min, of which every
// eighth fails.
func (h history) account(sample func(name, more string, value float64), at time.Time, active time.Duration) {
	requests := active.Minutes() * float64(h.creators) / 15
	paused := value(end.Sub(at) < h.paused)
	sample("bilibili_exporter_build_info", `,version="1.0.0"`, 1)
	sample("bilibili_exporter_config_last_reload_successful", "", 1)
	sample("bilibili_exporter_config_last_reload_success_timestamp_seconds", "", float64(h.start.Unix()))
	sample("process_start_time_seconds", "", float64(h.start.Unix()))
	sample("process_resident_memory_bytes", "", 20e6)
	sample("bilibili_api_requests_total", "", requests)
	sample("bilibili_api_billed_requests_total", "", requests*7/8)
	sample("bilibili_api_requests_in_flight", "", value(active > 0))
	for _, code := range []string{"-404", "301", "timeout"} {
		sample("upstream_error_code", `,code="`+code+`"`, requests/8*value(code == "301"))
	}
	for _, le := range []string{"1", "5", "+Inf"} {
		sample("bilibili_api_request_duration_seconds_bucket", `,le="`+le+`"`, requests)
	}
	for _, reason := range []string{"token", "balance", "outage"} {
		sample("bilibili_api_paused", `,reason="`+reason+`"`, paused*value(reason == "outage"))
	}
	sample("bilibili_api_resume_timestamp_seconds", "", paused*float64(end.Add(5*time.Minute).Unix()))
	sample("bilibili_suppressed_requests_total", `,reason="paused"`, paused)
	for _, operation := range []string{"read", "write"} {
		sample("bilibili_storage_errors_total", `,operation="`+operation+`"`, 0)
	}
	day := at.Add(8 * time.Hour).Truncate(24 * time.Hour).Add(-8 * time.Hour)
	used := at.Sub(day).Minutes() * float64(h.creators) / 15
	sample("bilibili_quota_used", "", used)
	sample("bilibili_quota_daily_limit", "", 200*float64(h.creators))
	sample("bilibili_quota_remaining", "", 200*float64(h.creators)-used)
	sample("bilibili_quota_reset_timestamp_seconds", "", float64(day.Add(24*time.Hour).Unix()))
	sample("bilibili_quota_stretch_ratio", "", 1)
	sample("bilibili_account_balance", `,currency="CNY"`, 1000-at.Sub(h.start).Hours())
	sample("bilibili_account_balance_timestamp_seconds", "", float64(at.Truncate(time.Hour).Unix()))
}
