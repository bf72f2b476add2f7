package quota

import "time"

// maxBackOff caps the backoff interval of a user's own errors, unless the user's minimum interval is longer.
const maxBackOff = 24 * time.Hour

// user is what the guard knows about one user.
type user struct {
	WMID int64
	userRecord
	request uint64 // number of the request in flight
}

// interval returns the time between two requests before it is stretched.
func (u *user) interval(retryInterval time.Duration) time.Duration {
	switch u.Verdict {
	case VerdictRetry:
		return doubled(retryInterval, u.Streak-1, u.MinInterval)
	case VerdictBackOff:
		return doubled(u.MinInterval, u.Streak, max(maxBackOff, u.MinInterval))
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

// failures returns how many requests in a row failed alike.
func (u *user) failures() int {
	if u.Failing == "" {
		return 0
	}
	return u.Streak
}

// start records that a request starts.
func (u *user) start(request uint64, now time.Time) {
	u.StartedBefore, u.DelayBefore = u.Started, u.Delay
	u.Started, u.Delay, u.InFlight, u.request = now, 0, true, request
}

// sent returns when the last request was sent, or the latest moment at which it can have been.
func (u *user) sent() time.Time { return u.Started.Add(u.Delay) }

// undo restores Started and Delay to their values before the request in flight.
func (u *user) undo() { u.Started, u.Delay, u.InFlight = u.StartedBefore, u.DelayBefore, false }

// finish records how the request in flight ended. A refusal of the account does not use up the user's interval.
func (u *user) finish(result Result, now time.Time) {
	u.Last, u.Completed = result, true
	u.Delay = max(0, result.Sent.Sub(u.Started))
	if result.Verdict == VerdictRefused {
		u.undo()
		return
	}
	if result.TimedOut {
		u.CutOff = u.Started // the vendor may still work on it
	}
	u.updateFailingSince(result, now)
	if u.Verdict != result.Verdict {
		u.Streak = 0
	}
	u.Verdict, u.TimedOut, u.Failing, u.InFlight = result.Verdict, result.TimedOut, result.Code, false
	u.Streak++
	if result.Verdict == VerdictSuccess {
		u.Previous, u.Value = u.Value, Value{Followers: result.Followers, Following: result.Following, At: now}
	}
}

// updateFailingSince records when the failures started. Failures upstream and the user's own are not the same failure.
func (u *user) updateFailingSince(result Result, now time.Time) {
	own, wasOwn := result.Verdict == VerdictBackOff, u.Verdict == VerdictBackOff
	switch {
	case result.Verdict == VerdictSuccess:
		u.FailingSince = time.Time{}
	case u.FailingSince.IsZero() || own != wasOwn:
		u.FailingSince = now
	}
}

// interrupt records that the process ended while a request was in flight. The request may have been billed, so it is
// not retried early, and may have been sent some time after its start was recorded.
func (u *user) interrupt() {
	u.InFlight, u.Delay, u.CutOff = false, MaxSendDelay, u.Started
	if u.Verdict == VerdictRetry {
		u.Verdict, u.Streak = VerdictWait, 1
	}
}

// clampToNow moves times in the future to now, because the clock was set back. The user must not wait for longer than
// one interval, and a value must not stay fresh for longer. It reports whether there were any.
func (u *user) clampToNow(now time.Time) (changed bool) {
	changed = clampTimes(now, &u.Started, &u.StartedBefore, &u.CutOff, &u.Value.At, &u.Previous.At)
	if u.sent().After(now) {
		u.Delay, changed = now.Sub(u.Started), true
	}
	return changed
}

// clampTimes moves times in the future to now, and reports whether there were any.
func clampTimes(now time.Time, times ...*time.Time) (changed bool) {
	for _, t := range times {
		if t.After(now) {
			*t, changed = now, true
		}
	}
	return changed
}
