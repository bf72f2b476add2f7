package quota

import (
	"math"
	"time"
)

// budget is the daily budget of requests. The guard's lock protects it.
type budget struct {
	limit int // requests in a day; 0 = no limit
	zone  *time.Location
	ratio float64 // factor by which intervals are stretched; at least 1

	today *dayUse
	other *dayUse // the day before today or, after a jump of the clock, the one that it left; nil for none
}

// dayUse is how many requests were charged to a day: those started in it, and those in flight when it started.
type dayUse struct {
	day
	Requests int  `json:"requests"`
	Entered  int  `json:"entered"`           // Requests when the clock entered the day, for the last time
	Jumped   bool `json:"jumped,omitempty"`  // whether it entered by a jump and not at midnight
	Resumed  bool `json:"resumed,omitempty"` // whether it had been there before
}

func newBudget(limit int, zone *time.Location) *budget {
	return &budget{limit: limit, zone: zone, ratio: 1}
}

// enterDay makes sure that today is the day of now, and reports whether it has changed. The requests in flight when a
// day starts are charged to it.
//
// The clock is not trusted. If it returns to the day that it jumped away from, that day continues, charged with what
// was spent since under other dates. A day that it jumps back to, or that overlaps today because the zone has changed,
// starts with what today has used.
func (b *budget) enterDay(now time.Time, inFlightAt func(start time.Time) int) (changed bool) {
	old := b.today
	if old != nil && old.contains(now) {
		return false
	}
	next := &dayUse{day: newDay(now, b.zone)}
	inFlight := inFlightAt(next.Start)
	next.Requests, b.today = inFlight, next
	if old == nil {
		return true
	}
	next.Jumped = !next.Start.Equal(old.End)
	// Once a day has passed from its start to its end, the day before it is never continued.
	whole := !next.Jumped && !old.Jumped && !old.Resumed
	known := !whole && b.other != nil && b.other.Start.Equal(next.Start)
	switch {
	case known:
		next.Jumped, next.Resumed = b.other.Jumped, true
		next.Requests = max(inFlight, b.other.Requests) + old.Requests - old.Entered
	case next.Start.Before(old.End):
		next.Requests = max(inFlight, old.Requests)
	}
	next.Entered = next.Requests
	if known || b.other == nil || !old.Jumped {
		b.other = old
	}
	return true
}

// refund takes back the charge for a request that is still in flight. If another day was charged, too, that day gets
// the refund should the clock return to it, because it then continues with what was charged since, less what was
// refunded.
func (b *budget) refund() { b.today.Requests = max(0, b.today.Requests-1) }

// remaining returns how many requests are left today.
func (b *budget) remaining() int {
	if b.limit == 0 {
		return math.MaxInt
	}
	return max(0, b.limit-b.today.Requests)
}

// pace spreads the remaining budget over the rest of the day. Without a stretch, the users' intervals make demand
// requests per second. The ratio is finite, as its JSON encoding requires, because no interval is shorter than a
// nanosecond, and the ratio is only computed while there is at least one request left.
func (b *budget) pace(now time.Time, demand float64) {
	switch {
	case b.limit == 0:
		b.ratio = 1
	case b.remaining() > 0: // else the last ratio stays
		b.ratio = max(1, demand*b.today.End.Sub(now).Seconds()/float64(b.remaining()))
	}
}

// stretched returns an interval stretched by the ratio, at most a century.
func (b *budget) stretched(interval time.Duration) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(float64(interval)*b.ratio, float64(century)))
}

// chargeElapsed charges the elapsed share of today's budget, because it is unknown how much was used.
func (b *budget) chargeElapsed(now time.Time) {
	elapsed := now.Sub(b.today.Start).Seconds() / b.today.length().Seconds()
	b.today.Requests = max(b.today.Requests, int(math.Ceil(elapsed*float64(b.limit))))
}
