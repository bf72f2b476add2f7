package collector

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"golang.org/x/time/rate"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// slowRecord is how long recording a call may take without being done anew.
const slowRecord = 5 * time.Second

// caller makes single calls: it measures them, tells the guard how they ended
// and logs what an operator needs to know.
type caller struct {
	guard    *quota.Guard
	requests *requestMetrics
	advice   func(justoneapi.Kind) string
	logger   log.Logger
	base     context.Context //nolint:containedctx // of calls, which belong to no scrape
	lines    *rate.Limiter   // of the log, about single users: an outage concerns all of them
	left     atomic.Int64    // lines that were left out for that
}

func newCaller(base context.Context, config Config, requests *requestMetrics) *caller {
	return &caller{
		guard: config.Guard, requests: requests, advice: config.Advice, logger: config.Logger, base: base,
		lines: rate.NewLimiter(rate.Every(6*time.Second), 20),
	}
}

// call makes a call that the guard has allowed, once that is recorded. It
// returns what waits until the end of the call is recorded, too.
func (c *caller) call(s *settings, token justoneapi.Token, user User, begun func(context.Context)) (recorded func(context.Context)) {
	if !c.await(user.WMID, begun) {
		return func(context.Context) {}
	}
	ctx, cancel := context.WithTimeout(c.base, s.RequestTimeout)
	defer cancel()
	end := c.requests.begin()
	stat, err := s.API.RelationStat(ctx, token, user.WMID)
	failure := failureOf(err)
	if failure != nil && c.base.Err() != nil {
		// Nothing is known of it but that it began: that is what stays.
		level.Warn(c.logger).Log("msg", "A running call was cut off: it may have been billed", "wmid", user.WMID, "name", user.Name)
		return func(context.Context) {}
	}
	end(failure)
	change, recorded := c.guard.Finish(user.WMID, resultOf(stat, failure))
	c.log(user, change, failure)
	c.logPause(change, failure)
	return recorded
}

// await waits until a call is recorded, and reports whether it may be made. If
// the disk has taken long over it, the call begins, and is recorded, anew; if
// the disk takes long again, it begins anew when it is made.
func (c *caller) await(wmid int64, begun func(context.Context)) (ok bool) {
	for range 2 {
		start := time.Now()
		begun(c.base)
		if c.base.Err() != nil {
			return false
		}
		if time.Since(start) < slowRecord {
			return true
		}
		if begun, ok = c.guard.Renew(wmid); !ok {
			return false
		}
	}
	return true
}

// failureOf returns what is known of an error, nil for none.
func failureOf(err error) *justoneapi.Error {
	var failure *justoneapi.Error
	if err == nil || errors.As(err, &failure) {
		return failure
	}
	return &justoneapi.Error{Kind: justoneapi.Kind{Code: justoneapi.CodeNetwork}, Detail: err.Error()}
}

// resultOf says what the end of a call means to the guard.
func resultOf(stat justoneapi.Stat, failure *justoneapi.Error) quota.Result {
	if failure == nil {
		return quota.Result{Verdict: quota.VerdictSuccess, Followers: stat.Followers, Following: stat.Following}
	}
	result := quota.Result{
		Verdict: quota.VerdictWait, Code: failure.Code, Bilibili: failure.Bilibili, Detail: failure.Specifics(),
		TimedOut: failure.Code == justoneapi.CodeTimeout, NoResponse: failure.NoResponse,
	}
	switch {
	case failure.Scope == justoneapi.ScopeAccount:
		result.Verdict, result.Reason = quota.VerdictRefused, quota.Reason(failure.Reason)
	case failure.Scope == justoneapi.ScopeUser:
		result.Verdict = quota.VerdictBackOff
	case failure.Scope == justoneapi.ScopeUpstream && failure.Billing == justoneapi.NotBilled:
		result.Verdict = quota.VerdictRetry
	}
	return result
}

// log tells of a failure when it begins, when it changes and when it ends;
// all else is for debugging. Of a refused account the pause is told of.
func (c *caller) log(user User, change quota.Transition, failure *justoneapi.Error) {
	logger := log.With(c.logger, "wmid", user.WMID, "name", user.Name)
	before, value := change.Before.Failing, change.After.Value
	switch {
	case failure == nil && before != "":
		c.sparingly(level.Info)(logger).Log("msg", "Fetching user works again", "followers", value.Followers, "following", value.Following, "last_code", before)
	case failure == nil:
		level.Debug(logger).Log("msg", "Fetched user", "followers", value.Followers, "following", value.Following)
	default:
		at := level.Debug
		if failure.Code != before && failure.Scope != justoneapi.ScopeAccount {
			at = c.sparingly(level.Warn)
		}
		at(logger).Log("msg", "Fetching user failed", "code", failure.Code, "err", failure, "billed", failure.Billing,
			"advice", c.advice(failure.Kind), "next_call", formatTime(change.Next))
	}
}

// sparingly returns the level, or the level of debugging if there have been
// many lines.
func (c *caller) sparingly(at func(log.Logger) log.Logger) func(log.Logger) log.Logger {
	if c.lines.Allow() {
		return at
	}
	c.left.Add(1)
	return level.Debug
}

// logRest tells how many lines were left out.
func (c *caller) logRest() {
	if left := c.left.Swap(0); left > 0 {
		level.Warn(c.logger).Log("msg", "More users have begun to fail, or work again, than are named here: the status page has them all", "left_out", left)
	}
}

// logPause tells of a pause when it begins, when it changes and when it ends,
// and, for who wonders whether it is still tried, of probes that are refused.
func (c *caller) logPause(change quota.Transition, failure *justoneapi.Error) {
	before, after := change.PauseBefore, change.PauseAfter
	switch {
	case before == after:
	case after.Reason == "":
		level.Info(c.logger).Log("msg", "Calls go on", "paused_for", before.Reason)
	case after.Reason == before.Reason:
		level.Info(c.logger).Log("msg", "Calls stay paused for the account", "reason", after.Reason, "err", failure, "next_probe", formatTime(change.Next))
	default:
		level.Warn(c.logger).Log("msg", "Calls are paused for the account", "reason", after.Reason, "err", failure,
			"advice", c.advice(failure.Kind), "next_probe", formatTime(change.Next))
	}
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
