// Package quota decides which users may be asked about, and when. Every call
// costs, so that the guard is asked before each one, is told how each one
// ended, and remembers both, durably if it has a store.
//
// The guard owns all that is known of a user, values included. It decides
// over a clock and its memory alone: it never calls anybody and never waits.
package quota

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"
)

// horizon is how far ahead of its moment a turn is handed out.
const horizon = time.Second

// Limits say who may be asked about, and how often.
type Limits struct {
	Users         []User         // in the order of [Guard.Users]; each WMID once
	RetryInterval time.Duration  // first interval after a failure that is not billed; above 0
	DailyLimit    int            // calls in a quota day; 0 = no limit
	Zone          *time.Location // whose midnight begins the quota day
}

// Config says how often users may be asked about, and what is known of them.
type Config struct {
	Limits
	Now func() time.Time // nil is [time.Now]

	Store   Store             // nil keeps nothing
	Records map[string][]byte // what the store holds
}

// Store keeps records.
type Store interface {
	// Put changes records, all at once or none; nil deletes. It only queues:
	// the function that it returns waits until the changes, and all before
	// them, are durable or have failed, or until its context ends. Put without
	// changes is for its function only.
	Put(changes map[string][]byte) (wait func(context.Context))
}

// User is a user to ask about.
type User struct {
	WMID        int64
	MinInterval time.Duration // between the starts of two calls; above 0
}

// Guard decides which users are due. It is safe for concurrent use.
type Guard struct {
	now         func() time.Time
	store       Store
	interrupted int // calls that the process before left running

	mu            sync.Mutex // protects the following fields
	retryInterval time.Duration
	users         []*user // the configured ones
	index         map[int64]*user
	calls         uint64 // number of the latest call
	running       int    // calls
	budget        *budget
	pause         pause
	suppressed    map[Suppression]uint64
	token         storedToken
}

// Value is what a successful call obtained.
type Value struct {
	Followers, Following int64
	At                   time.Time // when it was obtained; zero if there is none
}

// Verdict is what the end of a call means for the next call.
type Verdict int

// The verdicts.
const (
	VerdictSuccess Verdict = iota // there is a value
	VerdictRetry                  // this one call failed and is certainly not billed
	VerdictWait                   // this one call failed and may be billed
	VerdictBackOff                // the user cannot be asked about: asking again will not help soon
	VerdictRefused                // the account is refused: nobody can be asked about
)

// Result is how a call ended.
type Result struct {
	Verdict    Verdict `json:"verdict,omitempty"`
	Reason     Reason  `json:"reason,omitempty"`     // for Refused
	Code       string  `json:"code,omitempty"`       // of the failure; empty for Success
	Bilibili   bool    `json:"bilibili,omitempty"`   // whether Code is Bilibili's own
	Detail     string  `json:"detail,omitempty"`     // more of the failure, in words
	TimedOut   bool    `json:"timed_out,omitempty"`  // whether there was no answer in time
	NoResponse bool    `json:"unanswered,omitempty"` // whether there was no answer of the API at all

	Followers, Following int64 `json:"-"` // for Success
}

// DueUser is a call that may be made.
type DueUser struct {
	WMID     int64
	At       time.Time // not before; zero for a user that was never asked about
	TimedOut bool      // whether the user's latest call got no answer in time
}

// Suppression says why a user is passed over whose minimum interval is over: a
// label value of bilibili_suppressed_requests_total.
type Suppression string

// The suppressions.
const (
	SuppressedBackOff    Suppression = "backoff"
	SuppressedStretch    Suppression = "stretch"
	SuppressedDailyLimit Suppression = "daily_limit"
	SuppressedPaused     Suppression = "paused"
)

// Outcome is what a user's completed calls have come to.
type Outcome struct {
	Value     Value  // the latest
	Previous  Value  // before Value
	Last      Result // how the latest completed call ended
	Completed bool   // whether a call has completed yet
	Failing   string // code of the latest completed call that did not refuse the account; empty for a success
}

// UserState is what is known of a user at a moment.
type UserState struct {
	User
	Outcome
	InFlight bool          // whether a call runs
	Started  time.Time     // when the latest call began, and was not refused; zero before the first
	Interval time.Duration // in force now, stretched
	Due      time.Time     // when the next call may start as far as the user is concerned; zero before the first
}

// Account is what is known of the account at a moment.
type Account struct {
	Limit      int       // calls in the quota day; 0 = no limit
	Used       int       // calls begun in it, and running when it began
	Remaining  int       // with a limit
	Reset      time.Time // when it ends
	Ratio      float64   // by which intervals are stretched; at least 1
	Pause      Pause
	Suppressed map[Suppression]uint64
}

// Earliest returns when a call may begin that is due at t: not in a pause, but
// for its probe, nor when the day has no calls left.
func (s Account) Earliest(t time.Time) time.Time {
	if s.Pause.Reason != "" && s.Pause.Resume.After(t) {
		t = s.Pause.Resume
	}
	if s.Limit > 0 && s.Remaining == 0 && s.Reset.After(t) {
		t = s.Reset
	}
	return t
}

// Pause is a pause of all calls; the zero value is none.
type Pause struct {
	Reason Reason
	Resume time.Time // when the next probe is allowed
}

// Transition is what the end of a call has changed.
type Transition struct {
	Before, After           UserState // of the user
	PauseBefore, PauseAfter Pause
	Next                    time.Time // when the user's next call may begin or, in a pause, the probe
}

// New returns a guard that knows what the records tell. Users that they do not
// tell of are due.
func New(config Config) *Guard {
	g := &Guard{
		retryInterval: config.RetryInterval, now: config.Now, store: config.Store,
		index: make(map[int64]*user),
		suppressed: map[Suppression]uint64{
			SuppressedBackOff: 0, SuppressedStretch: 0, SuppressedDailyLimit: 0, SuppressedPaused: 0,
		},
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.budget = newBudget(config.DailyLimit, config.Zone)
	g.token.Salt = []byte(rand.Text())
	g.restore(config)
	return g
}

// SetLimits changes the limits from now on. What is known of users is kept, also
// of those who are left out, should they come back; new ones are due. A quota
// day that is under way ends when it would have.
func (g *Guard) SetLimits(limits Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.retryInterval = limits.RetryInterval
	g.budget.limit, g.budget.zone = limits.DailyLimit, limits.Zone
	g.setUsers(limits.Users, now)
	g.settle(now)
}

// SetToken tells the guard which token serves from now on, by a function that
// returns the token's fingerprint for a salt. Another token than before, also
// before a restart, lifts a pause; SetToken reports whether it did.
func (g *Guard) SetToken(fingerprint func(salt []byte) []byte) (lifted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, now := g.token.Fingerprint, fingerprint(g.token.Salt)
	if bytes.Equal(now, known) {
		return false
	}
	if known != nil {
		lifted = g.pause.active()
		g.pause.lift(g.calls + 1)
	}
	g.token.Fingerprint = now
	g.put(g.tokenRecord(), g.pauseRecord())
	return lifted
}

// Due returns the calls that may be made now, and the next few, at most ahead
// of them, that may be made within a second. Those of users that were never
// asked about come first, then the most overdue. In a pause there is at most
// one: its probe.
//
// It stands for the given number of scrapes, for each of which the users are
// counted that are passed over.
func (g *Guard) Due(ahead, scrapes int) []DueUser {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.settle(now)
	var turns []DueUser
	for _, u := range g.users {
		if u.current != 0 {
			continue
		}
		if due := g.due(u); due.Sub(now) <= horizon {
			turns = append(turns, DueUser{WMID: u.WMID, At: due, TimedOut: u.hanging})
		} else if !u.started.Add(u.MinInterval).After(now) {
			g.suppress(u, now, scrapes)
		}
	}
	slices.SortStableFunc(turns, func(a, b DueUser) int { return a.At.Compare(b.At) })
	turns = g.affordable(turns, now, scrapes)
	if later := slices.IndexFunc(turns, func(t DueUser) bool { return t.At.After(now) }); later >= 0 {
		turns = turns[:min(len(turns), later+ahead)]
	}
	return turns
}

// settle brings what depends on the time up to date.
func (g *Guard) settle(now time.Time) {
	g.budget.enter(now, g.running)
	var records []record
	if g.pause.distrust(now, g.budget.today.day) {
		records = append(records, g.pauseRecord())
	}
	var demand float64
	for _, u := range g.users {
		if u.distrust(now) {
			records = append(records, g.userRecord(u))
		}
		demand += 1 / u.interval(g.retryInterval).Seconds()
	}
	g.budget.pace(now, demand)
	if len(records) > 0 {
		g.put(records...)
	}
}

// enter notices a new day, whose budget is another.
func (g *Guard) enter(now time.Time) {
	if g.budget.enter(now, g.running) {
		g.settle(now)
	}
}

// suppress counts a user that is passed over for its interval.
func (g *Guard) suppress(u *user, now time.Time, scrapes int) {
	reason := SuppressedStretch
	switch {
	case g.pause.active():
		reason = SuppressedPaused
	case g.budget.remaining() == 0:
		reason = SuppressedDailyLimit
	case u.started.Add(u.interval(g.retryInterval)).After(now):
		reason = SuppressedBackOff
	}
	g.suppressed[reason] += uint64(scrapes)
}

// affordable returns those of the turns that the account allows, and counts
// the others.
func (g *Guard) affordable(turns []DueUser, now time.Time, scrapes int) []DueUser {
	reason, keep := SuppressedDailyLimit, g.budget.remaining()
	if g.pause.active() {
		reason, keep = SuppressedPaused, 0
		if g.pause.allows(now) && g.budget.remaining() > 0 {
			keep = 1
			// A user who hangs would hold the probe up.
			if prompt := slices.IndexFunc(turns, func(t DueUser) bool { return !t.TimedOut }); prompt > 0 {
				turns[0], turns[prompt] = turns[prompt], turns[0]
			}
		}
	}
	if keep >= len(turns) {
		return turns
	}
	for _, turn := range turns[keep:] {
		if !turn.At.After(now) {
			g.suppressed[reason] += uint64(scrapes)
		}
	}
	return turns[:keep]
}

// Allows reports whether a call for the user may be made, now or at its turn's
// moment.
func (g *Guard) Allows(wmid int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allows(g.index[wmid], g.now())
}

func (g *Guard) allows(u *user, now time.Time) bool {
	g.enter(now)
	return u != nil && u.removed.IsZero() && u.current == 0 && g.pause.allows(now) && g.budget.remaining() > 0
}

// Start reports whether a call for the user may be made now. If so it counts
// as begun: the caller must wait for it to be recorded before it calls, and
// tell its end to [Guard.Finish].
func (g *Guard) Start(wmid int64) (recorded func(context.Context), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	u := g.index[wmid]
	if !g.allows(u, now) || g.due(u).After(now) {
		return nil, false
	}
	g.calls++
	g.running++
	u.begin(g.calls, now)
	g.budget.today.calls++
	g.pause.begin(g.calls, now, g.budget.today.day)
	return g.put(g.userRecord(u), g.budgetRecord(), g.pauseRecord()), true
}

// Renew is for a call that [Guard.Start] allowed and that was not sent yet,
// because recording it took long: its interval begins now. It reports whether
// the call may still be made; if not, it does not count for its user, and is
// not to be told to End.
func (g *Guard) Renew(wmid int64) (recorded func(context.Context), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.index[wmid]
	if g.pause.active() && g.pause.probe != u.current {
		u.started, u.current = u.previous, 0
		g.running--
		return g.put(g.userRecord(u)), false
	}
	u.started = g.now()
	return g.put(g.userRecord(u)), true
}

// Finish records how a call ended that [Guard.Start] allowed, and returns what it
// has changed. When recorded returns the end is durable, if the store works,
// and [Guard.Users] shows it: what is shown must not be forgotten.
func (g *Guard) Finish(wmid int64, result Result) (change Transition, recorded func(context.Context)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.index[wmid]
	now := g.now()
	g.enter(now)
	change.Before, change.PauseBefore = g.state(u, u.outcome), g.pauseState()
	g.conclude(u.current, result, now)
	g.running--
	u.end(result, now)
	change.After, change.PauseAfter = g.state(u, u.outcome), g.pauseState()
	change.Next = g.account().Earliest(g.due(u))
	durable, outcome := g.put(g.userRecord(u), g.budgetRecord(), g.pauseRecord()), u.outcome
	return change, func(ctx context.Context) {
		durable(ctx)
		g.show(u, outcome)
	}
}

// show makes an outcome seen.
func (g *Guard) show(u *user, o *outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.call > u.shown.call {
		u.shown = o
	}
}

// conclude tells the pause what a call's end means for the account.
func (g *Guard) conclude(call uint64, result Result, now time.Time) {
	today := g.budget.today.day
	switch {
	case result.Verdict == VerdictRefused:
		g.pause.refused(result.Reason, call, g.calls+1, now, today)
	case result.NoResponse:
		g.pause.unanswered(call, now, today)
	default:
		g.pause.answered(call)
	}
}

// Flush waits until all that is known is durable or could not be made so, or
// until ctx ends.
func (g *Guard) Flush(ctx context.Context) { g.put()(ctx) }

// Users returns what is known of every user, and durable.
func (g *Guard) Users() []UserState {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]UserState, len(g.users))
	for i, u := range g.users {
		states[i] = g.state(u, u.shown)
	}
	return states
}

// Interrupted returns how many calls ran when the process before ended, and may have
// been billed.
func (g *Guard) Interrupted() int { return g.interrupted }

// Account returns what is known of the account.
func (g *Guard) Account() Account {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.enter(g.now())
	s := g.account()
	s.Suppressed = maps.Clone(g.suppressed)
	return s
}

// account returns the status without what is suppressed.
func (g *Guard) account() Account {
	s := Account{
		Limit: g.budget.limit, Used: g.budget.today.calls, Reset: g.budget.today.end, Ratio: g.budget.ratio,
		Pause: g.pauseState(),
	}
	if s.Limit > 0 {
		s.Remaining = g.budget.remaining()
	}
	return s
}

func (g *Guard) pauseState() Pause {
	if !g.pause.active() {
		return Pause{}
	}
	return Pause{g.pause.reason, g.pause.next}
}

func (g *Guard) state(u *user, o *outcome) UserState {
	return UserState{
		User: u.User, Outcome: o.Outcome, InFlight: u.current != 0, Started: u.started,
		Interval: g.budget.stretched(u.interval(g.retryInterval)), Due: g.due(u),
	}
}

// due returns when the user's next call may start; zero before the first.
func (g *Guard) due(u *user) time.Time {
	if u.started.IsZero() {
		return time.Time{}
	}
	return u.started.Add(g.budget.stretched(u.interval(g.retryInterval)))
}
