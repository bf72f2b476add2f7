package quota

import (
	"context"
	"time"
)

// Balance is the balance of the account at a moment; the zero value is none.
type Balance struct {
	Amount   float64   `json:"amount"`
	Currency string    `json:"currency"`
	At       time.Time `json:"at"` // when it was received
}

// balanceHistory is how long balances are kept to see how fast the account is spent.
const balanceHistory = 24 * time.Hour

// balanceSpacing is the least time between two balances of the history.
const balanceSpacing = 30 * time.Minute

// balanceRecord is what is stored of the account's balance.
type balanceRecord struct {
	Attempted time.Time `json:"attempted,omitzero"` // start of the last request for it
	Latest    Balance   `json:"latest,omitzero"`
	// History holds balances of the last day in order of time, and one before them, in Latest's currency.
	History []Balance `json:"history,omitempty"`
}

// add adds a balance.
func (b *balanceRecord) add(balance Balance) {
	if balance.Currency != b.Latest.Currency {
		b.History = nil
	}
	b.Latest = balance
	if n := len(b.History); n == 0 || balance.At.Sub(b.History[n-1].At) >= balanceSpacing {
		b.History = append(b.History, balance)
	}
	for len(b.History) > 1 && balance.At.Sub(b.History[1].At) >= balanceHistory {
		b.History = b.History[1:]
	}
}

// spentPerDay returns how much was spent in a day at the pace of the history; 0 while it spans less than an hour.
// Payments into the account do not count.
func (b *balanceRecord) spentPerDay() float64 {
	if len(b.History) == 0 {
		return 0
	}
	span := b.Latest.At.Sub(b.History[0].At)
	if span < time.Hour {
		return 0
	}
	var spent float64
	before := b.History[0]
	for _, balance := range append(b.History[1:len(b.History):len(b.History)], b.Latest) {
		spent += max(0, before.Amount-balance.Amount)
		before = balance
	}
	return spent * float64(24*time.Hour) / float64(span)
}

// clampToNow moves times in the future to now, because the clock was set back.
func (b *balanceRecord) clampToNow(now time.Time) {
	times := []*time.Time{&b.Attempted, &b.Latest.At}
	for i := range b.History {
		times = append(times, &b.History[i].At)
	}
	clampTimes(now, times...)
}

// StartBalance reports whether a request for the account's balance may start now: its interval has elapsed since the
// last attempt, and no pause concerns it. If so the caller must call waitStarted, which waits until the start is
// durable, before it sends the request, and must then call [Guard.FinishBalance] with the number returned or, if it
// sends nothing, [Guard.UndoBalance]. It sends nothing if waitStarted fails, or later than [MaxSendDelay].
func (g *Guard) StartBalance() (request uint64, waitStarted func(context.Context) error, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	switch g.pause.Reason {
	case ReasonToken, ReasonPermission, ReasonBalance, ReasonTokenLimit:
		return 0, nil, false
	}
	if g.term == 0 || g.balanceInterval == 0 || g.balanceRequest != 0 {
		return 0, nil, false
	}
	g.balance.clampToNow(now)
	if now.Sub(g.balance.Attempted) < g.balanceInterval {
		return 0, nil, false
	}
	g.requests++
	g.balanceBefore = g.balance.Attempted
	g.balance.Attempted, g.balanceRequest = now, g.requests
	return g.requests, g.put(g.balanceRecord()), true
}

// UndoBalance takes back a request that [Guard.StartBalance] allowed and that was not sent.
func (g *Guard) UndoBalance(request uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.balanceRequest == request {
		g.balanceRequest, g.balance.Attempted = 0, g.balanceBefore
		g.put(g.balanceRecord())
	}
}

// FinishBalance records the end of a request that [Guard.StartBalance] allowed, and the balance received, if any. It
// does nothing if [Guard.Load] has cut off the request. The function waitFinished waits until that is durable.
func (g *Guard) FinishBalance(request uint64, amount float64, currency string, ok bool) (
	waitFinished func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.balanceRequest != request {
		return func(context.Context) error { return nil }
	}
	g.balanceRequest = 0
	if ok {
		g.balance.add(Balance{Amount: amount, Currency: currency, At: g.now()})
	}
	return g.put(g.balanceRecord())
}
