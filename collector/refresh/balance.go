package refresh

import (
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// requestBalance requests the account's balance once the start of that is recorded. It belongs to no refresh, so no
// scrape waits for it. Its failures are logged when they start and end.
func (r *requester) requestBalance(s started) {
	if err := r.record(s.at, s.wait); err != nil {
		r.guard.UndoBalance(s.number)
		return
	}
	ctx, cancel := r.context(s)
	defer cancel()
	balance, err := s.settings.API.Balance(ctx, s.token)
	failure := asFailure(err)
	wait := r.guard.FinishBalance(s.number, balance.Amount, balance.Currency, failure == nil)
	wait(r.base) //nolint:errcheck // the store reports errors
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
