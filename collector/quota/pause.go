package quota

import "time"

// Reason says why calls are paused for the account: a label value of
// bilibili_api_paused.
type Reason string

// The reasons.
const (
	ReasonToken      Reason = "token"
	ReasonPermission Reason = "permission"
	ReasonBalance    Reason = "balance"
	ReasonTokenLimit Reason = "token_limit"
	ReasonDailyQuota Reason = "daily_quota"
	ReasonRateLimit  Reason = "rate_limit"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{ReasonToken, ReasonPermission, ReasonBalance, ReasonTokenLimit, ReasonDailyQuota, ReasonRateLimit}
}

// quotaProbe is how often a pause for the daily quota is probed: when the
// vendor's day ends is not published.
const quotaProbe = time.Hour

// lengths returns how long a pause is at first and at most. Those for the daily
// quota last until the day ends.
func (r Reason) lengths() (first, most time.Duration) {
	switch r {
	case ReasonRateLimit:
		return 30 * time.Second, 10 * time.Minute
	case ReasonDailyQuota:
		return quotaProbe, quotaProbe
	default:
		return 5 * time.Minute, time.Hour
	}
}

// alike reports whether two reasons make pauses of the same lengths, so that
// one extends the other.
func (r Reason) alike(other Reason) bool {
	a, _ := r.lengths()
	b, _ := other.lengths()
	return a == b
}

// pause keeps calls from being made while the account is refused. It belongs
// to a guard, which locks it.
type pause struct {
	reason Reason        // empty without a pause
	end    time.Time     // when it ends
	next   time.Time     // when the next probe is allowed: at the end or, for the daily quota, before
	length time.Duration // to the next probe; doubled when a probe is refused

	began  uint64 // number of the first call after the latest pause began: refusals of earlier ones are part of it
	lifted uint64 // number of the first call with the token that serves: refusals of earlier ones are no news
	probe  uint64 // number of the call that probes; 0 if none does
}

func (p *pause) active() bool { return p.reason != "" }

// allows reports whether a call may be made: outside a pause, or as its probe.
func (p *pause) allows(now time.Time) bool {
	return !p.active() || p.probe == 0 && !now.Before(p.next)
}

// begin tells that call begins. In a pause it is the probe, and the next is
// allowed no sooner than if this one got no answer: should the process be
// killed, it is as if it had got none.
func (p *pause) begin(call uint64, now time.Time, today day) {
	if p.active() {
		p.probe = call
		p.postpone(now, today)
	}
}

// postpone allows the next probe when the length of the pause has passed.
func (p *pause) postpone(now time.Time, today day) {
	p.next = now.Add(p.length)
	if p.reason == ReasonDailyQuota && today.end.Before(p.next) {
		p.next = today.end
	}
}

// refused tells that the account was refused to call; the next call will be
// the given one.
func (p *pause) refused(reason Reason, call, nextCall uint64, now time.Time, today day) {
	if call < p.lifted {
		return
	}
	probe := p.active() && call == p.probe
	if probe {
		p.probe = 0
		p.postpone(now, today)
	} else if call < p.began && (!p.active() || p.reason.alike(reason)) {
		return // several refusals of calls that were running count as one
	}
	first, most := reason.lengths()
	fresh := pause{reason: reason, length: first, began: nextCall, lifted: p.lifted, probe: p.probe}
	if probe && p.reason.alike(reason) {
		fresh.length = min(2*p.length, most)
	}
	fresh.postpone(now, today)
	fresh.end = fresh.next
	if reason == ReasonDailyQuota {
		fresh.end = today.end
	}
	if !p.active() || fresh.end.After(p.end) { // of two, the later end wins
		*p = fresh
	}
}

// answered tells that call got an answer that does not refuse the account. Only
// the probe's lifts the pause: other calls began before it.
func (p *pause) answered(call uint64) {
	if p.active() && call == p.probe {
		*p = pause{began: p.began, lifted: p.lifted}
	}
}

// unanswered tells that call got no answer, which says nothing of the account.
func (p *pause) unanswered(call uint64, now time.Time, today day) {
	if p.active() && call == p.probe {
		p.probe = 0
		p.postpone(now, today)
		if p.reason != ReasonDailyQuota {
			p.end = p.next
		}
	}
}

// lift ends the pause: the token is another. Refusals of calls that run, made
// with the old one, will be no news.
func (p *pause) lift(nextCall uint64) { *p = pause{began: nextCall, lifted: nextCall} }

// distrust shortens a pause that lasts longer than it can: the clock was set
// back. It reports whether it did.
func (p *pause) distrust(now time.Time, today day) (changed bool) {
	if p.active() && p.next.Sub(now) > p.length {
		p.postpone(now, today)
		p.end, changed = p.next, true
	}
	if p.reason == ReasonDailyQuota && p.end.After(today.end) {
		p.end, changed = today.end, true
	}
	return changed
}
