package refresh

import (
	"context"
	"time"

	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// requestBalance requests the account's balance, after waitStarted has waited for the guard's record of that. It
// belongs to no refresh, so no scrape waits for it. Its failures are logged when they start and end.
func (r *requester) requestBalance(s *Settings, token justoneapi.Token, waitStarted func(context.Context)) {
	start := time.Now().Round(0) // suspended time counts
	waitStarted(r.base)
	if r.closed() || time.Since(start) > recordTimeout {
		r.guard.FinishBalance(0, "", false)
		return
	}
	ctx, cancel := context.WithTimeout(r.base, s.RequestTimeout)
	defer cancel()
	balance, err := s.API.Balance(ctx, token)
	failure := asFailure(err)
	r.guard.FinishBalance(balance.Amount, balance.Currency, failure == nil)(r.base)
	if failure != nil && r.base.Err() != nil {
		return // canceled by shutdown
	}
	r.logBalance(balance, failure)
}

// logBalance logs a failure when it starts, changes or ends.
func (l *requestLog) logBalance(balance justoneapi.Balance, failure *justoneapi.Error) {
	var code string
	if failure != nil {
		code = failure.Code
	}
	before := l.balanceFailing.Swap(&code)
	switch {
	case failure != nil && (before == nil || *before != code):
		level.Warn(l.logger).Log("msg", "Error fetching account balance", "code", code, "err", failure)
	case failure == nil && before != nil && *before != "":
		level.Info(l.logger).Log("msg", "Account balance recovered", "amount", balance.Amount, "currency", balance.Currency)
	case failure != nil:
		level.Debug(l.logger).Log("msg", "Error fetching account balance", "code", code, "err", failure)
	default:
		level.Debug(l.logger).Log("msg", "Fetched account balance", "amount", balance.Amount, "currency", balance.Currency)
	}
}
