package quota

import "time"

// maxBackOff is how far the interval of a user grows whose own errors repeat,
// unless the user's minimum interval is longer.
const maxBackOff = 24 * time.Hour

// user is what the guard knows of one user.
type user struct {
	User
	removed time.Time // since when the user is no longer configured; zero while it is

	started  time.Time // start of the latest call that counts; zero before the first
	previous time.Time // the same before the call that runs
	current  uint64    // number of the call that runs; 0 if none does
	verdict  Verdict   // of the latest completed call that counts
	streak   int       // how many in a row had it

	hanging bool // whether the latest completed call that counts got no answer in time

	outcome *outcome // of the completed calls
	shown   *outcome // what of it is on disk, and may be shown; mostly the same
}

// outcome is an Outcome, with the number of the latest of its calls. It never
// changes: those who know it share it.
type outcome struct {
	Outcome
	call uint64
}

// newUser returns a user of whom nothing is known.
func newUser() *user {
	o := &outcome{}
	return &user{outcome: o, shown: o}
}

// interval returns the time between two calls, before it is stretched.
func (u *user) interval(retryInterval time.Duration) time.Duration {
	switch u.verdict {
	case VerdictRetry:
		return doubled(retryInterval, u.streak-1, u.MinInterval)
	case VerdictBackOff:
		return doubled(u.MinInterval, u.streak, max(maxBackOff, u.MinInterval))
	default:
		return u.MinInterval
	}
}

// doubled returns d, doubled the given number of times, but at most limit.
func doubled(d time.Duration, times int, limit time.Duration) time.Duration {
	for ; times > 0 && d < limit; times-- {
		d *= 2
	}
	return min(d, limit)
}

// begin records that a call begins.
func (u *user) begin(call uint64, now time.Time) {
	u.previous, u.started, u.current = u.started, now, call
}

// end records how the call ended that runs. One that was refused for the
// account does not count: the user is as due as before it.
func (u *user) end(result Result, now time.Time) {
	o := *u.outcome
	o.call, o.Last, o.Completed = u.current, result, true
	u.outcome, u.current = &o, 0
	if result.Verdict == VerdictRefused {
		u.started = u.previous
		return
	}
	if u.verdict != result.Verdict {
		u.streak = 0
	}
	u.verdict, u.hanging, o.Failing = result.Verdict, result.TimedOut, result.Code
	u.streak++
	if result.Verdict == VerdictSuccess {
		o.Previous, o.Value = o.Value, Value{Followers: result.Followers, Following: result.Following, At: now}
	}
}

// cut records that the call that ran was cut off with its process: it may have
// been billed, so that it is not retried early.
func (u *user) cut() {
	u.current = 0
	if u.verdict == VerdictRetry {
		u.verdict, u.streak = VerdictWait, 1
	}
}

// distrust moves times that lie ahead to now: the clock was set back, and the
// user must not wait for longer than an interval, nor a value stay young. It
// reports whether there were any.
func (u *user) distrust(now time.Time) (changed bool) {
	for _, t := range []*time.Time{&u.started, &u.previous} {
		if t.After(now) {
			*t, changed = now, true
		}
	}
	if o := u.outcome; o.after(now) {
		u.outcome, changed = o.until(now), true
		if u.shown == o {
			u.shown = u.outcome
		}
	}
	if u.shown.after(now) {
		u.shown, changed = u.shown.until(now), true
	}
	return changed
}

// after reports whether values are from after now.
func (o *outcome) after(now time.Time) bool { return o.Value.At.After(now) || o.Previous.At.After(now) }

// until returns the outcome with values that are not from after now.
func (o outcome) until(now time.Time) *outcome {
	for _, t := range []*time.Time{&o.Value.At, &o.Previous.At} {
		if t.After(now) {
			*t = now
		}
	}
	return &o
}
