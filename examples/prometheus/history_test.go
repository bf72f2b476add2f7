//go:build rules

package prometheus

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// history is a random past of an exporter as a scraper sees it: the series of a test of rules.
type history struct {
	random   *rand.Rand
	interval time.Duration       // between two scrapes
	step     int                 // number of the current scrape
	values   map[string][]string // by series, one for each scrape so far
}

// set sets the current sample of a series of the job.
func (h *history) set(value float64, metric, labels string) {
	series := fmt.Sprintf(`%s{job="bilibili"%s}`, metric, labels)
	values := h.values[series]
	for len(values) < h.step {
		values = append(values, "_")
	}
	h.values[series] = append(values, strconv.FormatFloat(value, 'f', -1, 64))
}

// next starts the next scrape. Series that the last one did not return are stale.
func (h *history) next() {
	h.step++
	for series, values := range h.values {
		if last := values[len(values)-1]; len(values) < h.step {
			if last != "_" && last != "stale" {
				h.values[series] = append(values, "stale")
			} else {
				h.values[series] = append(values, "_")
			}
		}
	}
}

// inputSeries returns the history in the notation of tests of rules.
func (h *history) inputSeries() string {
	var text strings.Builder
	for series, values := range h.values {
		fmt.Fprintf(&text, "      - series: %s\n        values: %s\n", series, strings.Join(values, " "))
	}
	return text.String()
}

// now returns the time of the current scrape.
func (h *history) now() time.Duration { return time.Duration(h.step) * h.interval }

// upTo returns a random duration, which is at least one interval.
func (h *history) upTo(most time.Duration) time.Duration {
	return h.interval + time.Duration(h.random.Int64N(int64(most)))
}

// episodes are on from time to time.
type episodes struct {
	off, on time.Duration // the longest that they are off and on
	isOn    bool
	until   time.Duration
}

func (e *episodes) next(h *history) bool {
	if h.now() >= e.until {
		e.isOn = e.until > 0 && !e.isOn
		length := e.off
		if e.isOn {
			length = e.on
		}
		e.until = h.now() + h.upTo(length)
	}
	return e.isOn
}

// value returns 1 or 0.
func (e *episodes) value(h *history) float64 {
	if e.next(h) {
		return 1
	}
	return 0
}

// creator is a user of the history.
type creator struct {
	interval        time.Duration
	followers       float64
	failing, losing episodes
	requested       bool
	due, success    time.Duration // next request and last value
	exposed         float64       // the value
	failures        int           // consecutive ones
}

// request receives a value, which is wrong from time to time, or a failure, after which the interval is twice as long.
func (c *creator) request(h *history) {
	c.requested = true
	if c.failing.next(h) {
		c.failures = min(c.failures+1, 5)
	} else {
		c.failures, c.success, c.exposed = 0, h.now(), c.followers
		if h.random.IntN(20) == 0 {
			c.exposed *= 2 * h.random.Float64()
		}
	}
	c.due = h.now() + c.effective()
}

func (c *creator) effective() time.Duration { return c.interval << c.failures }

// expose scrapes the user.
func (c *creator) expose(h *history, labels string, mayRequest bool) {
	if c.losing.next(h) {
		c.followers = float64(int(c.followers * (1 - 0.1*h.random.Float64())))
	}
	if mayRequest && h.now() >= c.due {
		c.request(h)
	}
	h.set(c.effective().Seconds(), "bilibili_user_interval_seconds", labels)
	if !c.requested {
		return
	}
	h.set(float64(max(1-c.failures, 0)), "bilibili_up", labels)
	if c.success > 0 {
		h.set(float64(int(c.exposed)), "bilibili_followers", labels)
		h.set(c.success.Seconds(), "bilibili_last_success_timestamp_seconds", labels)
	}
}

// exporter is the exporter of a history. It restarts, moves, is on standby, is refused, and fails to write.
type exporter struct {
	instance                                        string
	down, standby, reloadFailing, stretched, failed episodes
	pauses                                          map[string]*episodes // by reason
	users                                           []*creator
	errors, balance                                 float64
}

var reasons = []string{"token", "permission", "balance", "token_limit", "daily_quota", "rate_limit", "outage"}

// randomHistory returns a history with users who lose followers, fail, or are requested seldom.
func randomHistory(seed uint64, interval, length time.Duration) *history {
	h := &history{random: rand.New(rand.NewPCG(seed, 0)), interval: interval, values: map[string][]string{}}
	now := episodes{off: length / 2, on: time.Hour}
	e := &exporter{
		instance: "a", down: now, standby: now, reloadFailing: now, balance: 100 * h.random.Float64(),
		stretched: episodes{off: length / 2, on: 4 * time.Hour}, failed: episodes{off: length / 2, on: time.Minute},
		pauses: map[string]*episodes{},
	}
	for _, reason := range reasons {
		e.pauses[reason] = &episodes{off: length, on: 2 * time.Hour}
	}
	for _, each := range []time.Duration{5 * time.Second, 15 * time.Minute, 18 * time.Minute, time.Hour, 4 * time.Hour} {
		for range 3 {
			e.users = append(e.users, &creator{
				interval: each, followers: 1000 * float64(1+h.random.IntN(1000)),
				failing: episodes{off: length, on: 6 * time.Hour}, losing: episodes{off: length / 2, on: 2 * interval},
			})
		}
	}
	for ; h.now() < length; h.next() {
		e.scrape(h)
	}
	return h
}

// scrape exposes the exporter if it is not down. After a restart, it may have another address.
func (e *exporter) scrape(h *history) {
	wasDown := e.down.isOn
	if e.down.next(h) {
		h.set(0, "up", e.labels())
		return
	}
	if wasDown {
		e.errors = 0
		e.instance = string('a' + rune(h.random.IntN(3)))
	}
	h.set(1, "up", e.labels())
	h.set(1+2*e.stretched.value(h), "bilibili_quota_stretch_ratio", e.labels())
	h.set(1-e.reloadFailing.value(h), "bilibili_exporter_config_last_reload_successful", e.labels())
	e.errors += e.failed.value(h)
	h.set(e.errors, "bilibili_storage_errors_total", e.labels()+`, operation="write"`)
	if e.balance -= 40 * h.random.Float64() * h.interval.Hours() / 24; e.balance < 0 {
		e.balance = 200
	}
	h.set(e.balance, "bilibili_account_balance", e.labels()+`, currency="CNY"`)
	active := 1 - e.standby.value(h)
	h.set(active, "bilibili_exporter_active", e.labels())
	paused := e.exposePauses(h)
	for i, user := range e.users {
		user.expose(h, e.labels()+fmt.Sprintf(`, wmid="%d"`, i), active == 1 && !paused)
	}
}

func (e *exporter) labels() string { return fmt.Sprintf(`, instance="%s"`, e.instance) }

// exposePauses reports whether requests are paused for any reason.
func (e *exporter) exposePauses(h *history) (paused bool) {
	for _, reason := range reasons {
		on := e.pauses[reason].value(h)
		paused = paused || on == 1
		h.set(on, "bilibili_api_paused", e.labels()+fmt.Sprintf(`, reason="%s"`, reason))
	}
	return paused
}
