package refresh

import (
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"golang.org/x/time/rate"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// requestLog logs what an operator needs to know about requests.
type requestLog struct {
	logger     log.Logger
	advice     func(justoneapi.Kind) string
	lines      *rate.Limiter // of messages about single users: an outage concerns all of them
	suppressed atomic.Int64  // messages that exceeded it
}

func newRequestLog(logger log.Logger, advice func(justoneapi.Kind) string) *requestLog {
	return &requestLog{logger: logger, advice: advice, lines: rate.NewLimiter(rate.Every(6*time.Second), 20)}
}

// logFinished logs how a request ended and what that changed.
func (l *requestLog) logFinished(wmid int64, name string, change quota.Transition, failure *justoneapi.Error) {
	l.logUser(log.With(l.logger, "wmid", wmid, "name", name), change, failure)
	l.logPause(change, failure)
}

// logUser logs a user's failure when it starts, changes or ends; anything else is for debugging. A refusal of the
// account is logged as a pause.
func (l *requestLog) logUser(logger log.Logger, change quota.Transition, failure *justoneapi.Error) {
	before, value := change.Before.Failing, change.After.Value
	switch {
	case failure == nil && before != "":
		l.rateLimited(level.Info)(logger).Log("msg", "User recovered",
			"followers", value.Followers, "following", value.Following, "last_code", before)
	case failure == nil:
		level.Debug(logger).Log("msg", "Fetched user", "followers", value.Followers, "following", value.Following)
	default:
		at := level.Debug
		if failure.Code != before && failure.Scope != justoneapi.ScopeAccount {
			at = l.rateLimited(level.Warn)
		}
		at(logger).Log("msg", "Error fetching user", "code", failure.Code, "err", failure, "billed", failure.Billing,
			"advice", l.advice(failure.Kind), "next_request", formatTime(change.Next))
	}
}

// rateLimited returns the level, or the debug level if there have been many messages.
func (l *requestLog) rateLimited(at func(log.Logger) log.Logger) func(log.Logger) log.Logger {
	if l.lines.Allow() {
		return at
	}
	l.suppressed.Add(1)
	return level.Debug
}

// logSuppressed logs how many messages were suppressed.
func (l *requestLog) logSuppressed() {
	if n := l.suppressed.Swap(0); n > 0 {
		level.Warn(l.logger).Log("msg", "Suppressed per-user log messages; the status page lists all users", "suppressed", n)
	}
}

// logPause logs a pause when it starts, changes or ends, and probes that are refused, so that operators see that
// probing continues.
func (l *requestLog) logPause(change quota.Transition, failure *justoneapi.Error) {
	before, after := change.PauseBefore, change.PauseAfter
	switch {
	case before == after:
	case after.Reason == "":
		level.Info(l.logger).Log("msg", "Resuming API requests", "paused_for", before.Reason)
	case after.Reason == before.Reason:
		level.Info(l.logger).Log("msg", "Requests remain paused", "reason", after.Reason, "err", failure,
			"next_probe", formatTime(change.Next))
	default:
		level.Warn(l.logger).Log("msg", "Requests paused", "reason", after.Reason, "err", failure,
			"advice", l.advice(failure.Kind), "next_probe", formatTime(change.Next))
	}
}

// budgetLog logs when the daily budget is used up, and when there is one again. One goroutine uses it at a time.
type budgetLog struct{ usedUp bool }

func (b *budgetLog) update(logger log.Logger, account quota.Account) {
	usedUp := account.Limit > 0 && account.Remaining == 0
	switch {
	case usedUp && !b.usedUp:
		level.Warn(logger).Log("msg", "Daily budget used up", "daily_limit", account.Limit,
			"resumes", formatTime(account.Reset),
			"advice", "Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	case !usedUp && b.usedUp:
		level.Info(logger).Log("msg", "Resuming API requests: daily budget available", "daily_limit", account.Limit,
			"remaining", account.Remaining)
	}
	b.usedUp = usedUp
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
