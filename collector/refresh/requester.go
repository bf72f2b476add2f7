package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

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

// started is a request that the guard has allowed.
type started struct {
	wmid     int64
	number   uint64
	at       time.Time                       // when the guard allowed it
	wait     func(ctx context.Context) error // until its start is recorded
	settings *Settings
	token    justoneapi.Token
}

// request sends a request once its start is recorded. It returns a function that waits until its end is recorded, too.
// sent is false if it was not sent, and failed is true if it was without success.
func (r *requester) request(s started) (sent, failed bool, wait func()) {
	logger := log.With(r.logger, "wmid", s.wmid, "name", s.settings.Names[s.wmid])
	if err := r.record(s.at, s.wait); err != nil {
		r.guard.Undo(s.wmid, s.number)
		if !r.closed() {
			r.rateLimited(level.Warn, "not sent")(logger).Log("msg", "Request not sent", "err", err)
		}
		return false, false, func() {}
	}
	ctx, cancel := r.context(s)
	defer cancel()
	observe, sentAt := r.observer.RequestStarted(), time.Now()
	stat, err := s.settings.API.RelationStat(ctx, s.token, s.wmid)
	failure := asFailure(err)
	if failure != nil && r.base.Err() != nil {
		// Only its start is known and stays recorded.
		level.Warn(logger).Log("msg", "Request canceled by shutdown; it may have been billed")
		return true, true, func() {}
	}
	observe(failure)
	result := newResult(stat, failure)
	result.Sent = sentAt.Round(0)
	change, waitFinished, ok := r.guard.Finish(s.wmid, s.number, result)
	if !ok {
		level.Warn(logger).Log("msg", "Response not recorded, because another replica has become active",
			"code", result.Code, "followers", stat.Followers, "following", stat.Following)
		return true, failure != nil, func() {}
	}
	r.logFinished(logger, finishedRequest{time.Since(sentAt), stat.RequestID, change, failure})
	return true, failure != nil, func() {
		// Another replica may be active by now. The response is lost then, at the latest when this one loads the records.
		if err := waitFinished(r.base); err != nil && r.base.Err() == nil {
			level.Warn(logger).Log("msg", "Error recording response", "err", err,
				"code", result.Code, "followers", stat.Followers, "following", stat.Following)
		}
	}
}

// context returns the context of a request that is recorded. It belongs to no scrape.
func (r *requester) context(s started) (context.Context, context.CancelFunc) {
	base := justoneapi.WithSendBy(r.base, s.at.Add(quota.MaxSendDelay))
	return context.WithTimeout(base, s.settings.RequestTimeout)
}

// record waits until the start of a request is recorded. It fails if the request must not be sent.
func (r *requester) record(start time.Time, wait func(context.Context) error) error {
	if err := wait(r.base); err != nil {
		return fmt.Errorf("recording it: %w", err)
	}
	if took := justoneapi.Elapsed(start); took > quota.MaxSendDelay {
		return fmt.Errorf("recording it took %v", took.Round(time.Millisecond))
	}
	if r.closed() {
		return errors.New("the exporter is shutting down")
	}
	return nil
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
