// Package quota decides which users may be asked about, and when. Every call
// costs, so that the guard is asked before each one, is told how each one
// ended, and remembers both.
//
// The guard owns all that is known of a user, values included. It decides
// over a clock and its memory alone: it never calls anybody and never waits.
package quota

import (
	"slices"
	"sync"
	"time"
)

// maxBackOff is how far the interval of a user grows whose own errors repeat,
// unless the user's minimum interval is longer.
const maxBackOff = 24 * time.Hour

// Config says how often users may be asked about.
type Config struct {
	Users         []User           // in the order of [Guard.Users]; each WMID once
	RetryInterval time.Duration    // first interval after a failure that is not billed; above 0
	Now           func() time.Time // nil is [time.Now]
}

// User is a user to ask about.
type User struct {
	WMID        int64
	MinInterval time.Duration // between the starts of two calls; above 0
}

// Guard decides which users are due. It is safe for concurrent use.
type Guard struct {
	retryInterval time.Duration
	now           func() time.Time

	mu    sync.Mutex // protects the following fields
	users []*record
	index map[int64]*record
}

// record is what the guard knows of one user.
type record struct {
	User
	started time.Time // start of the latest call; zero before the first
	running bool      // whether that call has not ended yet
	last    Result    // how the latest completed call ended
	ended   bool      // whether a call has ended yet
	streak  int       // how many completed calls in a row ended with last.Verdict
	value   Value
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
	Success Verdict = iota // there is a value
	Retry                  // this one call failed and is certainly not billed
	Wait                   // this one call failed and may be billed
	BackOff                // the user cannot be asked about: asking again will not help soon
)

// Result is how a call ended.
type Result struct {
	Verdict              Verdict
	Code                 string // of the failure; empty for Success
	TimedOut             bool   // whether there was no answer in time
	Followers, Following int64  // for Success
}

// Turn is a call that may be made.
type Turn struct {
	WMID    int64
	At      time.Time // not before; zero for a user that was never asked about
	Hanging bool      // whether the user's latest call got no answer in time
}

// State is what is known of a user at a moment.
type State struct {
	User
	Value    Value
	Last     Result        // how the latest completed call ended
	Ended    bool          // whether a call has completed yet
	Interval time.Duration // in force now
	Due      time.Time     // when the next call may start; zero before the first
}

// New returns a guard that knows nothing of its users yet: all are due.
func New(config Config) *Guard {
	g := &Guard{retryInterval: config.RetryInterval, now: config.Now, index: make(map[int64]*record)}
	if g.now == nil {
		g.now = time.Now
	}
	for _, user := range config.Users {
		r := &record{User: user}
		g.users = append(g.users, r)
		g.index[user.WMID] = r
	}
	return g
}

// Due returns the calls that may be made now, and the next few, at most ahead
// of them, that may be made within a second. Those of users that were never
// asked about come first, then the most overdue.
func (g *Guard) Due(ahead int) []Turn {
	const horizon = time.Second
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	var turns []Turn
	for _, r := range g.users {
		due := g.dueLocked(r)
		if r.running || due.Sub(now) > horizon {
			continue
		}
		turns = append(turns, Turn{WMID: r.WMID, At: due, Hanging: r.last.TimedOut})
	}
	slices.SortStableFunc(turns, func(a, b Turn) int { return a.At.Compare(b.At) })
	later := slices.IndexFunc(turns, func(t Turn) bool { return t.At.After(now) })
	if later < 0 {
		return turns
	}
	return turns[:min(len(turns), later+ahead)]
}

// Allows reports whether a call for the user may be made, now or at its turn's
// moment.
func (g *Guard) Allows(wmid int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.index[wmid]
	return r != nil && !r.running
}

// Begin reports whether a call for the user may be made now. If so it counts
// as begun, and must be followed by [Guard.End].
func (g *Guard) Begin(wmid int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	r := g.index[wmid]
	if r == nil || r.running || g.dueLocked(r).After(now) {
		return false
	}
	r.started, r.running = now, true
	return true
}

// End records how a call ended that [Guard.Begin] allowed, and returns the
// user's state before and after.
func (g *Guard) End(wmid int64, result Result) (before, after State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.index[wmid]
	if r == nil {
		return State{}, State{}
	}
	before = g.stateLocked(r)
	if !r.ended || r.last.Verdict != result.Verdict {
		r.streak = 0
	}
	r.streak++
	r.last, r.ended, r.running = result, true, false
	if result.Verdict == Success {
		r.value = Value{Followers: result.Followers, Following: result.Following, At: g.now()}
	}
	return before, g.stateLocked(r)
}

// Users returns what is known of every user.
func (g *Guard) Users() []State {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]State, len(g.users))
	for i, r := range g.users {
		states[i] = g.stateLocked(r)
	}
	return states
}

func (g *Guard) stateLocked(r *record) State {
	return State{
		User: r.User, Value: r.value, Last: r.last, Ended: r.ended,
		Interval: g.intervalLocked(r), Due: g.dueLocked(r),
	}
}

// dueLocked returns when the user's next call may start; zero before the first.
func (g *Guard) dueLocked(r *record) time.Time {
	if r.started.IsZero() {
		return time.Time{}
	}
	return r.started.Add(g.intervalLocked(r))
}

// intervalLocked returns the user's interval in force, from the start of the
// latest call.
func (g *Guard) intervalLocked(r *record) time.Duration {
	switch r.last.Verdict {
	case Retry:
		return doubled(g.retryInterval, r.streak-1, r.MinInterval)
	case BackOff:
		return doubled(r.MinInterval, r.streak, max(maxBackOff, r.MinInterval))
	default:
		return r.MinInterval
	}
}

// doubled returns d, doubled the given number of times, but at most limit.
func doubled(d time.Duration, times int, limit time.Duration) time.Duration {
	for ; times > 0 && d < limit; times-- {
		d *= 2
	}
	return min(d, limit)
}
