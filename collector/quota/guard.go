// Package quota is the guard of a paid API. It decides which users are due and when a request may be sent, because
// every request may be billed. It decides before each request, learns how each one ended, and records both, durably
// if it has a store.
//
// The guard owns everything that is known about a user, values included. It decides from a clock and its records
// alone. It sends nothing, waits for nothing, and does no I/O.
//
// A [Result] is how one request ended. A [UserState] and an [Account] are snapshots of what the guard knows. A
// [Transition] is what one result changed in them.
package quota

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// lookAhead is how long before its moment a user is reported as due.
const lookAhead = time.Second

// Guard decides which users are due. It is safe for concurrent use.
type Guard struct {
	now   func() time.Time
	store Store

	mu            sync.Mutex // protects the following fields
	term          int64      // under which the records may be changed; 0 on standby
	interrupted   int        // requests that another process had left in flight when the records were loaded
	unreadable    int        // records that could not be decoded when the records were loaded
	retryInterval time.Duration
	users         []*user // the configured ones
	index         map[int64]*user
	requests      uint64 // number of the latest request
	inFlight      int    // requests
	budget        *budget
	pause         pause
	suppressed    map[Suppression]uint64
	token         tokenRecord

	balanceInterval time.Duration
	balance         balanceRecord
	balanceRequest  uint64    // number of the request for the balance that is in flight; 0 for none
	balanceBefore   time.Time // start of the one before it
}

// New returns a guard that continues from the given records, see [Guard.Load].
func New(config Config) *Guard {
	g := &Guard{
		retryInterval: config.RetryInterval, balanceInterval: config.BalanceInterval, store: config.Store,
		suppressed: map[Suppression]uint64{
			SuppressedBackOff: 0, SuppressedStretch: 0, SuppressedDailyLimit: 0, SuppressedPaused: 0,
		},
	}
	now := config.Now
	if now == nil {
		now = time.Now
	}
	g.now = func() time.Time { return now().Round(0) } // the monotonic clock stops while the machine is suspended
	g.budget = newBudget(config.DailyLimit, config.Zone)
	if config.Store == nil {
		config.Term = 1
	}
	g.loadLocked(config.Users, decode(config.Records), config.Term)
	return g
}

// Load replaces all that is known by the records of the store, because another process may have changed them. Users
// without a record are due. Requests in flight are cut off: their end will be ignored.
//
// The guard may change the records under a term. Term 0 means standby: the guard allows no request and changes no
// record.
func (g *Guard) Load(records map[string][]byte, term int64) {
	state := decode(records) // slow, therefore without the lock
	g.mu.Lock()
	defer g.mu.Unlock()
	users := make([]User, len(g.users))
	for i, u := range g.users {
		users[i] = User{WMID: u.WMID, MinInterval: u.MinInterval}
	}
	g.loadLocked(users, state, term)
}

// loadLocked is [Guard.Load] for the given users.
func (g *Guard) loadLocked(users []User, state state, term int64) {
	g.term = term
	g.inFlight, g.balanceRequest, g.interrupted = 0, 0, 0
	now := g.now()
	g.restoreLocked(state, now)
	if term != 0 {
		g.continueLocked(state)
	}
	g.setUsersLocked(users, now)
	g.updateLocked(now)
}

// continueLocked cuts off the requests that another process has left in flight, and deletes the records whose loss has
// been charged to the budget, so that it is charged once.
func (g *Guard) continueLocked(state state) {
	records := []record{{lostKey, nil}}
	for _, key := range state.unreadable {
		records = append(records, record{key, nil})
	}
	records = append(records, g.budgetRecord())
	for _, u := range g.index {
		if u.InFlight {
			u.interrupt()
			g.interrupted++
			records = append(records, g.userRecord(u))
		}
	}
	g.put(records...)
}

// Active reports whether the guard may allow requests: it is not on standby.
func (g *Guard) Active() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.term != 0
}

// SetLimits changes the limits. What is known about users is kept, also about those that are no longer configured,
// should they return; new ones are due. A quota day in progress keeps its end.
func (g *Guard) SetLimits(limits Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.retryInterval, g.balanceInterval = limits.RetryInterval, limits.BalanceInterval
	g.budget.limit, g.budget.zone = limits.DailyLimit, limits.Zone
	g.setUsersLocked(limits.Users, now)
	g.updateLocked(now)
}

// SetToken changes the token, given as a function that returns the token's fingerprint for a salt. A token that
// differs from the last one, also from the one before a restart, lifts a pause; SetToken reports whether it did. On
// standby it does nothing.
func (g *Guard) SetToken(fingerprint func(salt []byte) []byte) (lifted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, now := g.token.Fingerprint, fingerprint(g.token.Salt)
	if g.term == 0 || bytes.Equal(now, known) {
		return false
	}
	if known != nil {
		g.balance.History = nil // it may be the token of another account
		g.put(g.balanceRecord())
		lifted = g.pause.active()
		g.pause.lift(g.requests + 1)
	}
	g.token.Fingerprint = now
	g.put(g.tokenRecord(), g.pauseRecord())
	return lifted
}

// Due returns the users that are due, and at most ahead users that become due within the next second. Users that were
// never requested are first, then the most overdue ones. During a pause it returns at most one user, for the probe.
//
// scrapes is how many scrapes this call represents; each skipped user counts as suppressed once per scrape.
func (g *Guard) Due(ahead, scrapes int) []DueUser {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.updateLocked(now)
	if g.term == 0 {
		return nil
	}
	var users []DueUser
	for _, u := range g.users {
		if u.InFlight {
			continue
		}
		if due := g.due(u); due.Sub(now) <= lookAhead {
			users = append(users, DueUser{WMID: u.WMID, At: due, TimedOut: u.TimedOut, Failures: u.failures()})
		} else if !u.Started.Add(u.MinInterval).After(now) {
			g.suppressed[g.suppression(u, now)] += uint64(scrapes)
		}
	}
	slices.SortStableFunc(users, func(a, b DueUser) int { return g.turn(a).Compare(g.turn(b)) })
	users = g.affordableLocked(users, now, scrapes)
	return slices.DeleteFunc(users, func(u DueUser) bool {
		if u.At.After(now) {
			ahead--
		}
		return u.At.After(now) && ahead < 0
	})
}

// updateLocked brings what depends on the time up to date.
func (g *Guard) updateLocked(now time.Time) {
	g.budget.enterDay(now, g.inFlightAt)
	var records []record
	if g.pause.clampToNow(now, g.budget.today.day) {
		records = append(records, g.pauseRecord())
	}
	var demand float64
	for _, u := range g.users {
		if u.clampToNow(now) {
			records = append(records, g.userRecord(u))
		}
		demand += 1 / u.interval(g.retryInterval).Seconds()
	}
	g.budget.pace(now, demand)
	if len(records) > 0 {
		g.put(records...)
	}
}

// enterDayLocked updates what depends on the quota day if another one has started.
func (g *Guard) enterDayLocked(now time.Time) {
	if g.budget.enterDay(now, g.inFlightAt) {
		g.updateLocked(now)
	}
}

// maxDuration is how long the vendor works on a request at most. It recommends a timeout of 2 min.
const maxDuration = time.Hour

// inFlightAt returns how many requests the vendor may work on when a day starts, those included that a process has left
// or has stopped waiting for.
func (g *Guard) inFlightAt(start time.Time) int {
	n := g.inFlight
	for _, u := range g.index {
		if start.Sub(u.CutOff) < maxDuration {
			n++
		}
		if u.InFlight && u.request == 0 && start.Sub(u.Started) < 24*time.Hour { // it is not known when it was cut off
			n++
		}
	}
	return n
}

// suppression returns why a user is skipped whose minimum interval has elapsed.
func (g *Guard) suppression(u *user, now time.Time) Suppression {
	switch {
	case g.pause.active():
		return SuppressedPaused
	case g.budget.remaining() == 0:
		return SuppressedDailyLimit
	case u.Started.Add(u.interval(g.retryInterval)).After(now):
		return SuppressedBackOff
	default:
		return SuppressedStretch
	}
}

// affordableLocked returns those of the users that the account allows, and counts the others as suppressed.
func (g *Guard) affordableLocked(users []DueUser, now time.Time, scrapes int) []DueUser {
	reason, keep := SuppressedDailyLimit, g.budget.remaining()
	if g.pause.active() {
		reason, keep = SuppressedPaused, 0
		if g.pause.allows(now) && g.budget.remaining() > 0 {
			slices.SortStableFunc(users, func(a, b DueUser) int { return cmp.Compare(a.probeRank(), b.probeRank()) })
			if len(users) > 0 && g.mayProbeLocked(users[0], now) {
				keep = 1
			}
		}
	}
	if keep >= len(users) {
		return users
	}
	for _, user := range users[keep:] {
		if !user.At.After(now) {
			g.suppressed[reason] += uint64(scrapes)
		}
	}
	return users[:keep]
}

// mayProbeLocked reports whether the best of the users that are due may probe. In an outage, one whose last request
// failed leaves it to one that has not failed and is due before the next probe. It may fail alone, and would then
// keep that user waiting.
func (g *Guard) mayProbeLocked(best DueUser, now time.Time) bool {
	if best.Failures == 0 || g.pause.Reason != ReasonOutage {
		return true
	}
	next := now.Add(g.pause.doubled())
	return !slices.ContainsFunc(g.users, func(u *user) bool {
		return u.failures() == 0 && g.due(u).Before(next)
	})
}

// Allows reports whether a request for the user may start, now or once the user is due.
func (g *Guard) Allows(wmid int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allowsLocked(g.index[wmid], g.now())
}

func (g *Guard) allowsLocked(u *user, now time.Time) bool {
	g.enterDayLocked(now)
	return g.term != 0 && u != nil && u.Removed.IsZero() && !u.InFlight && g.pause.allows(now) && g.budget.remaining() > 0
}

// Start reports whether a request for the user may start now. If so it counts as started, under the number returned.
// The caller must call waitStarted, which waits until that is durable, before it sends the request, and must then call
// [Guard.Finish] or, if it sends nothing, [Guard.Undo]. It sends nothing if waitStarted fails, or later than
// [MaxSendDelay].
func (g *Guard) Start(wmid int64) (request uint64, waitStarted func(context.Context) error, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	u := g.index[wmid]
	if !g.allowsLocked(u, now) || g.due(u).After(now) {
		return 0, nil, false
	}
	g.requests++
	g.inFlight++
	u.start(g.requests, now)
	g.budget.today.Requests++
	g.pause.start(g.requests, now, g.budget.today.day)
	return g.requests, g.put(g.userRecord(u), g.budgetRecord(), g.pauseRecord()), true
}

// startedLocked returns the user of a request in flight; nil if [Guard.Load] has cut it off.
func (g *Guard) startedLocked(wmid int64, request uint64) *user {
	if u := g.index[wmid]; u != nil && u.InFlight && u.request == request {
		return u
	}
	return nil
}

// Undo takes back a request that [Guard.Start] allowed and that was not sent. The user is due when it was before, and
// the budget is not charged.
func (g *Guard) Undo(wmid int64, request uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.startedLocked(wmid, request)
	if u == nil {
		return
	}
	g.enterDayLocked(g.now())
	g.inFlight--
	g.budget.refund()
	g.pause.undo(request)
	u.undo()
	g.put(g.userRecord(u), g.budgetRecord(), g.pauseRecord())
}

// Finish records how a request ended that [Guard.Start] allowed, and returns what it changed. A request that the vendor
// does not count is refunded to the budget. The function waitFinished waits until that is durable. If [Guard.Load] has
// cut off the request, Finish does nothing and returns false.
func (g *Guard) Finish(wmid int64, request uint64, result Result) (
	change Transition, waitFinished func(context.Context) error, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.startedLocked(wmid, request)
	if u == nil {
		return Transition{}, nil, false
	}
	now := g.now()
	g.enterDayLocked(now)
	change.Before, change.PauseBefore = g.stateLocked(u), g.pause.snapshot(g.budget.zone)
	g.pause.finish(request, result, g.requests+1, now, g.budget.today.day)
	g.inFlight--
	if result.Unbilled {
		g.budget.refund()
	}
	u.finish(result, now)
	change.After, change.PauseAfter = g.stateLocked(u), g.pause.snapshot(g.budget.zone)
	change.Next = g.accountLocked().Earliest(g.due(u)).In(g.budget.zone)
	return change, g.put(g.userRecord(u), g.budgetRecord(), g.pauseRecord()), true
}

// Flush waits until everything known is durable or could not be made so, or until ctx ends.
func (g *Guard) Flush(ctx context.Context) {
	g.mu.Lock()
	wait := g.put()
	g.mu.Unlock()
	wait(ctx) //nolint:errcheck // the store reports errors
}

// Paused reports whether requests are paused.
func (g *Guard) Paused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause.active()
}

// Users returns the state of every configured user.
func (g *Guard) Users() []UserState {
	var states []UserState
	g.Each(func(state *UserState) { states = append(states, *state) })
	return states
}

// Each calls f with the state of every configured user. f must not keep the pointer, nor call the guard.
func (g *Guard) Each(f func(state *UserState)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, u := range g.users {
		state := g.stateLocked(u)
		f(&state)
	}
}

// Interrupted returns how many requests another process had left in flight when the records were last loaded. They may
// have been billed.
func (g *Guard) Interrupted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.interrupted
}

// Unreadable returns how many records could not be decoded when they were last loaded. Users whose record is unreadable
// count as never requested, and the elapsed share of the day's budget as used.
func (g *Guard) Unreadable() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unreadable
}

// Account returns the state of the account.
func (g *Guard) Account() Account {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.enterDayLocked(g.now())
	a := g.accountLocked()
	a.Suppressed = maps.Clone(g.suppressed)
	a.InFlight = g.inFlight
	if g.balanceRequest != 0 {
		a.InFlight++
	}
	a.Balance, a.BalanceRequested, a.SpentPerDay = g.balance.Latest, g.balance.Attempted, g.balance.spentPerDay()
	return a
}

// accountLocked returns the account without what is suppressed and the balance.
func (g *Guard) accountLocked() Account {
	a := Account{
		Limit: g.budget.limit, Used: g.budget.today.Requests, Ratio: g.budget.ratio,
		Reset: g.budget.today.End.In(g.budget.zone), Pause: g.pause.snapshot(g.budget.zone),
	}
	if a.Limit > 0 {
		a.Remaining = g.budget.remaining()
	}
	return a
}

func (g *Guard) stateLocked(u *user) UserState {
	return UserState{
		User:  User{WMID: u.WMID, MinInterval: u.MinInterval},
		Value: u.Value, Previous: u.Previous, Last: u.Last, Completed: u.Completed, Failing: u.Failing,
		FailingSince: u.FailingSince,
		InFlight:     u.InFlight, Started: u.Started,
		Interval: g.budget.stretched(u.interval(g.retryInterval)), Due: g.due(u),
	}
}

// due returns when the user's next request may start; zero before the first.
func (g *Guard) due(u *user) time.Time {
	if u.Started.IsZero() {
		return time.Time{}
	}
	return u.sent().Add(g.budget.stretched(u.interval(g.retryInterval)))
}

// turn returns when the user would be due if its last request had been sent without delay. Users take turns in that
// order: requests that are recorded together are sent in any order, and equal users must not overtake each other.
func (g *Guard) turn(u DueUser) time.Time { return u.At.Add(-g.index[u.WMID].Delay) }
