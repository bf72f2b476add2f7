package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// recordTimeout is how long recording a request may take. After that the request is not sent, because the interval is
// counted from the moment at which the guard allowed it.
const recordTimeout = 5 * time.Second

// requester sends single requests and reports how they ended: to the guard, the observer and the log.
type requester struct {
	guard    *quota.Guard
	observer Observer
	base     context.Context //nolint:containedctx // of requests, which belong to no scrape
	closed   func() bool     // whether no further request may be sent
	*requestLog
}

func newRequester(base context.Context, config Config, closed func() bool) *requester {
	return &requester{
		guard: config.Guard, observer: config.Observer, base: base, closed: closed,
		requestLog: newRequestLog(config.Logger, config.Advice),
	}
}

// request sends a request that the guard has allowed, after waitStarted has waited for its record. It returns a
// function that waits until its end is recorded, too.
func (r *requester) request(s *Settings, token justoneapi.Token, wmid int64,
	waitStarted func(context.Context)) (wait func()) {
	start := time.Now().Round(0) // suspended time counts
	waitStarted(r.base)
	if took := time.Since(start); r.closed() || took > recordTimeout {
		r.guard.Undo(wmid)
		if took > recordTimeout {
			r.rateLimited(level.Warn, "not sent")(r.logger).Log("msg", "Request not sent, because recording it took too long",
				"wmid", wmid, "name", s.Names[wmid], "took", took.Round(time.Millisecond))
		}
		return func() {}
	}
	ctx, cancel := context.WithTimeout(r.base, s.RequestTimeout)
	defer cancel()
	observe, sent := r.observer.RequestStarted(), time.Now()
	stat, err := s.API.RelationStat(ctx, token, wmid)
	failure := asFailure(err)
	if failure != nil && r.base.Err() != nil {
		// Only its start is known and stays recorded.
		level.Warn(r.logger).Log("msg", "Request canceled by shutdown; it may have been billed",
			"wmid", wmid, "name", s.Names[wmid])
		return func() {}
	}
	observe(failure)
	change, waitFinished := r.guard.Finish(wmid, newResult(stat, failure))
	r.logFinished(log.With(r.logger, "wmid", wmid, "name", s.Names[wmid]),
		finishedRequest{time.Since(sent), stat.RequestID, change, failure})
	return func() { waitFinished(r.base) }
}

// asFailure returns an error of the API as a [*justoneapi.Error], nil for none.
func asFailure(err error) *justoneapi.Error {
	var failure *justoneapi.Error
	if err == nil || errors.As(err, &failure) {
		return failure
	}
	return &justoneapi.Error{Kind: justoneapi.Kind{Code: justoneapi.CodeNetwork}, Detail: err.Error()}
}

// newResult returns what the end of a request means to the guard.
func newResult(stat justoneapi.Stat, failure *justoneapi.Error) quota.Result {
	if failure == nil {
		return quota.Result{Verdict: quota.VerdictSuccess, Followers: stat.Followers, Following: stat.Following}
	}
	result := quota.Result{
		Verdict: quota.VerdictWait, Code: failure.Code, Bilibili: failure.Bilibili, Detail: failure.Specifics(),
		TimedOut: failure.Code == justoneapi.CodeTimeout, NoResponse: failure.NoResponse,
		Unbilled: failure.Billing == justoneapi.NotBilled, RetryAfter: failure.RetryAfter,
	}
	switch {
	case failure.Scope == justoneapi.ScopeAccount:
		result.Verdict, result.Reason = quota.VerdictRefused, quota.Reason(failure.Reason)
	case failure.Scope == justoneapi.ScopeUser:
		result.Verdict = quota.VerdictBackOff
	case result.Unbilled:
		result.Verdict = quota.VerdictRetry
	}
	return result
}
