package quota

import "time"

// Reason is why requests are paused: a label value of bilibili_api_paused.
type Reason string

// The reasons.
const (
	ReasonToken      Reason = "token"
	ReasonPermission Reason = "permission"
	ReasonBalance    Reason = "balance"
	ReasonTokenLimit Reason = "token_limit"
	ReasonDailyQuota Reason = "daily_quota"
	ReasonRateLimit  Reason = "rate_limit"
	ReasonOutage     Reason = "outage" // the upstream is down; the account is not refused
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonToken, ReasonPermission, ReasonBalance, ReasonTokenLimit, ReasonDailyQuota, ReasonRateLimit, ReasonOutage,
	}
}

// outageFailures is how many requests in a row, of any users, fail upstream before all requests pause.
const outageFailures = 5

// dailyQuotaProbe is how often a pause for the daily quota is probed. The vendor's day may end before ours.
const dailyQuotaProbe = time.Hour

// lengths returns how long a pause is at first and at most. One for the daily quota lasts until the day ends.
func (r Reason) lengths() (first, most time.Duration) {
	switch r {
	case ReasonRateLimit:
		return 30 * time.Second, 10 * time.Minute
	case ReasonOutage:
		return time.Minute, 10 * time.Minute
	case ReasonDailyQuota:
		return dailyQuotaProbe, dailyQuotaProbe
	default:
		return 5 * time.Minute, time.Hour
	}
}

// extends reports whether a pause for r extends one for other, because their lengths are the same.
func (r Reason) extends(other Reason) bool {
	a, _ := r.lengths()
	b, _ := other.lengths()
	return a == b
}

// pauseRecord is what is stored of a pause.
type pauseRecord struct {
	Reason Reason        `json:"reason"` // empty without a pause
	End    time.Time     `json:"end"`
	Next   time.Time     `json:"next"`            // next allowed probe: at the end or, for the daily quota, earlier
	Length time.Duration `json:"length"`          // to the next probe; doubled when a probe fails
	Asked  bool          `json:"asked,omitempty"` // whether a response has asked for Length
	Since  time.Time     `json:"since,omitzero"`  // when the pause for Reason started

	Failures int `json:"failures,omitempty"` // requests in a row that failed upstream, with or without a pause
}

// pause keeps requests from being sent while the account is refused or the upstream is down. The guard's lock protects
// it.
type pause struct {
	pauseRecord
	// started is the number of the first request after the pause started. Refusals of earlier ones are part of it.
	started uint64
	// lifted is the number of the first request with the current token. Refusals of earlier ones are ignored.
	lifted uint64
	probe  uint64    // number of the request that probes; 0 if none does
	before time.Time // Next before the probe started
}

func (p *pause) active() bool { return p.Reason != "" }

// snapshot returns the pause with its times in a zone.
func (p *pause) snapshot(zone *time.Location) Pause {
	if !p.active() {
		return Pause{}
	}
	return Pause{p.Reason, p.Next.In(zone), p.Since.In(zone)}
}

// allows reports whether a request may start: outside a pause, or as its probe.
func (p *pause) allows(now time.Time) bool {
	return !p.active() || p.probe == 0 && !now.Before(p.Next)
}

// start records that a request starts. During a pause it is the probe, and the next probe is scheduled as if this one
// got no response, in case the process is killed.
func (p *pause) start(request uint64, now time.Time, today day) {
	if p.active() {
		p.probe, p.before = request, p.Next
		p.postpone(now, today)
	}
}

// undo records that a request was not sent after all.
func (p *pause) undo(request uint64) {
	if p.active() && p.probe == request {
		p.probe, p.Next = 0, p.before
	}
}

// postpone allows the next probe when the length of the pause has passed.
func (p *pause) postpone(now time.Time, today day) {
	p.Next = now.Add(p.Length)
	if p.Reason == ReasonDailyQuota && today.End.Before(p.Next) {
		p.Next = today.End
	}
}

// doubled returns the length of the pause after a failed probe.
func (p *pause) doubled() time.Duration {
	_, most := p.Reason.lengths()
	return min(2*p.Length, most)
}

// finish records how a request ended. The next request will have the given number.
func (p *pause) finish(request uint64, result Result, next uint64, now time.Time, today day) {
	probe := p.active() && request == p.probe
	switch result.Verdict {
	case VerdictRefused:
		p.Failures = 0
		p.begin(result.Reason, request, next, result.RetryAfter, now, today)
	case VerdictRetry, VerdictWait:
		p.Failures++
		if probe && p.Reason != ReasonOutage {
			p.finishAccountProbe(result, now, today)
			probe = false
		}
		// A response 503 with Retry-After announces an outage by itself.
		if probe || p.Failures >= outageFailures || result.RetryAfter > 0 {
			p.begin(ReasonOutage, request, next, result.RetryAfter, now, today)
		}
	default:
		p.Failures = 0
		if probe || p.Reason == ReasonOutage && !p.Asked {
			p.clear()
		}
	}
}

// finishAccountProbe records that the probe of an account's pause failed upstream. A response, whatever it was, shows
// that the account is not refused; no response says nothing about it.
func (p *pause) finishAccountProbe(result Result, now time.Time, today day) {
	if !result.NoResponse {
		p.clear()
		return
	}
	p.probe = 0
	p.postpone(now, today)
	if p.Reason != ReasonDailyQuota {
		p.End = p.Next
	}
}

// clear ends the pause.
func (p *pause) clear() {
	*p = pause{pauseRecord: pauseRecord{Failures: p.Failures}, started: p.started, lifted: p.lifted}
}

// begin starts or extends the pause because of a request. Its length is at least retryAfter.
func (p *pause) begin(reason Reason, request, next uint64, retryAfter time.Duration, now time.Time, today day) {
	if request < p.lifted {
		return
	}
	probe := p.active() && request == p.probe
	if probe {
		p.probe = 0
		p.postpone(now, today)
	} else if request < p.started && (!p.active() || p.Reason.extends(reason)) {
		p.await(reason, retryAfter, now) // several failures of requests in flight count as one
		return
	}
	first, _ := reason.lengths()
	fresh := *p
	if p.Reason != reason {
		fresh.Since = now
	}
	fresh.Reason, fresh.Length, fresh.started = reason, first, next
	if probe && p.Reason.extends(reason) {
		fresh.Length = p.doubled()
	}
	fresh.Asked = retryAfter > 0
	if alone := reason == ReasonOutage && !probe && p.Failures < outageFailures; alone {
		fresh.Length = retryAfter // one response says when to continue, and nothing else says that there is an outage
	}
	fresh.Length = max(fresh.Length, retryAfter)
	fresh.postpone(now, today)
	fresh.End, fresh.before = fresh.Next, fresh.Next
	if reason == ReasonDailyQuota {
		fresh.End = today.End
	}
	if !p.active() || fresh.End.After(p.End) { // of two pauses, the later end wins
		*p = fresh
	}
}

// await makes the pause last for at least retryAfter from now, whatever its length.
func (p *pause) await(reason Reason, retryAfter time.Duration, now time.Time) {
	if retryAfter == 0 {
		return
	}
	if !p.active() {
		p.Reason, p.End, p.Next, p.Since = reason, now, now, now
		p.Length, _ = reason.lengths()
	}
	p.Asked = true
	if next := now.Add(retryAfter); next.After(p.Next) {
		p.End, p.Next, p.before, p.Length = next, next, next, max(p.Length, retryAfter)
	}
}

// lift ends the pause because the token has changed. Refusals of requests in flight, which were sent with the old
// token, will be ignored.
func (p *pause) lift(next uint64) {
	p.clear()
	p.lifted = next
}

// clampToNow shortens a pause that lasts longer than it can, because the clock was set back. It reports whether it did.
func (p *pause) clampToNow(now time.Time, today day) (changed bool) {
	if !p.active() || p.Next.Sub(now) <= p.Length {
		return false
	}
	p.postpone(now, today)
	p.End = p.Next
	return true
}
