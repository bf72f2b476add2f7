package refresh

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"golang.org/x/time/rate"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// suppressedInterval is how long after the first suppressed message their number is logged.
const suppressedInterval = time.Minute

// requestLog logs what an operator needs to know about requests.
type requestLog struct {
	logger         log.Logger
	advice         func(justoneapi.Kind) string
	lines          *rate.Limiter          // limits messages about single users, because an outage affects all of them
	balanceFailing atomic.Pointer[string] // code of the last request for the balance; nil before the first

	mu         sync.Mutex     // protects the following fields
	suppressed map[string]int // messages that exceeded the limit, by the code of the failure that started or ended
	report     *time.Timer    // logs their number, while there are any
}

func newRequestLog(logger log.Logger, advice func(justoneapi.Kind) string) *requestLog {
	return &requestLog{
		logger: logger, advice: advice, lines: rate.NewLimiter(rate.Every(6*time.Second), 20),
		suppressed: make(map[string]int),
	}
}

// finishedRequest is how a request for a user ended.
type finishedRequest struct {
	duration  time.Duration
	requestID string            // the vendor's, of a success
	change    quota.Transition  // what it changed
	failure   *justoneapi.Error // nil for a success
}

// logInterrupted logs how many requests the replica that was active before left in flight.
func (l *requestLog) logInterrupted(requests int) {
	if requests > 0 {
		level.Warn(l.logger).Log("msg", "Requests were interrupted when the active replica stopped", "requests", requests,
			"advice", "No action is needed: they may have been billed, so their users wait for their interval.")
	}
}

// logUnreadable logs how many records of the replica that was active before could not be decoded.
func (l *requestLog) logUnreadable(records int) {
	if records > 0 {
		l.rateLimited(level.Error, "unreadable")(l.logger).Log("msg", "Error decoding persistent state", "records", records,
			"advice", "The elapsed share of the day's budget counts as used, and users without a record are requested.")
	}
}

// logFinished logs how a request ended. A user's failure is logged when it starts, changes or ends; anything else is
// for debugging. A refusal of the account is logged as a pause.
func (l *requestLog) logFinished(logger log.Logger, f finishedRequest) {
	before, value := f.change.Before.Failing, f.change.After.Value
	logger = log.With(logger, "duration", f.duration.Round(time.Millisecond))
	switch {
	case f.failure == nil && before != "":
		l.rateLimited(level.Info, before)(logger).Log("msg", "User recovered", "followers", value.Followers,
			"following", value.Following, "request_id", f.requestID, "last_code", before)
	case f.failure == nil:
		level.Debug(logger).Log("msg", "Fetched user", "followers", value.Followers, "following", value.Following,
			"request_id", f.requestID)
	default:
		at := level.Debug
		if f.failure.Code != before && f.failure.Scope != justoneapi.ScopeAccount {
			at = l.rateLimited(level.Warn, f.failure.Code)
		}
		at(logger).Log("msg", "Error fetching user", "code", f.failure.Code, "err", f.failure, "billed", f.failure.Billing,
			"advice", l.advice(f.failure.Kind), "next_request", formatTime(f.change.Next))
	}
	l.logPause(f.change, f.failure)
}

// rateLimited returns the level, or the debug level if there have been many messages.
func (l *requestLog) rateLimited(at func(log.Logger) log.Logger, code string) func(log.Logger) log.Logger {
	if l.lines.Allow() {
		return at
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.suppressed) == 0 {
		l.report = time.AfterFunc(suppressedInterval, l.logSuppressed)
	}
	l.suppressed[code]++
	return level.Debug
}

// logSuppressed logs how many messages have been suppressed since the last call, if any. It is called within a minute,
// and at the end of a refresh.
func (l *requestLog) logSuppressed() {
	l.mu.Lock()
	suppressed := l.suppressed
	if len(suppressed) == 0 {
		l.mu.Unlock()
		return
	}
	l.suppressed = make(map[string]int)
	l.report.Stop()
	l.mu.Unlock()
	total, most := 0, ""
	for _, code := range slices.Sorted(maps.Keys(suppressed)) {
		total += suppressed[code]
		if suppressed[code] > suppressed[most] {
			most = code
		}
	}
	level.Warn(l.logger).Log("msg", "Suppressed per-user log messages; the status page lists all users",
		"suppressed", total, "most_frequent_code", most)
}

// logPause logs a pause when it starts, changes or ends, and probes that fail, so that operators see that probing
// continues.
func (l *requestLog) logPause(change quota.Transition, failure *justoneapi.Error) {
	before, after := change.PauseBefore, change.PauseAfter
	switch {
	case before == after:
	case after.Reason == "":
		level.Info(l.logger).Log("msg", "Resuming API requests", "paused_for", before.Reason)
	case after.Reason == before.Reason && after.Resume.Sub(before.Resume) < time.Second: // of requests in flight
	case after.Reason == before.Reason:
		level.Info(l.logger).Log("msg", "Requests remain paused", "reason", after.Reason, "err", failure,
			"next_probe", formatTime(after.Resume))
	default:
		level.Warn(l.logger).Log("msg", "Requests paused", "reason", after.Reason, "err", failure,
			"advice", l.advice(justoneapi.Kind{Reason: justoneapi.Reason(after.Reason)}),
			"next_probe", formatTime(after.Resume))
	}
}

// budgetLog logs when the daily budget is used up, and when there is one again. One goroutine uses it at a time.
type budgetLog struct{ usedUp bool }

func (b *budgetLog) update(logger log.Logger, account quota.Account) {
	usedUp := account.Limit > 0 && account.Remaining == 0 && account.InFlight == 0 // else it may be refunded
	switch {
	case usedUp && !b.usedUp:
		level.Warn(logger).Log("msg", "Daily budget used up", "daily_limit", account.Limit,
			"resumes", formatTime(account.Reset),
			"advice", "Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	case !usedUp && b.usedUp:
		level.Info(logger).Log("msg", "Resuming API requests, because there is a budget again",
			"daily_limit", account.Limit, "remaining", account.Remaining)
	}
	b.usedUp = usedUp
}

// formatTime formats a time in its own zone, which is that of the quota day.
func formatTime(t time.Time) string { return t.Format(time.RFC3339) }
