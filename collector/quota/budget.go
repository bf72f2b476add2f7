package quota

import (
	"math"
	"time"
)

// budget is the daily budget of calls. It belongs to a guard, which locks it.
type budget struct {
	limit int // calls in a day; 0 = no limit
	zone  *time.Location
	ratio float64 // by which intervals are stretched; at least 1

	today *use
	left  *use // the day that the clock has jumped away from, nil if it has not
}

// use is how many calls were begun in a day, with those that were running when
// the day began.
type use struct {
	day
	calls int
	first int // calls when the day was entered
}

func newBudget(limit int, zone *time.Location) *budget {
	return &budget{limit: limit, zone: zone, ratio: 1}
}

// enter makes sure that today is the day of now, and reports whether it has
// become another. The given number of calls is running, which count in a day
// that begins.
//
// The clock is not trusted. A day that it jumps back to, or that overlaps today
// because the zone is another, starts with what today has used; the day that it
// had jumped away from goes on where it was left. A day that follows today is
// what it seems to be.
func (b *budget) enter(now time.Time, running int) bool {
	if b.today != nil && b.today.contains(now) {
		return false
	}
	next := &use{day: dayOf(now, b.zone), calls: running}
	follows := b.today == nil || next.start.Equal(b.today.end)
	switch {
	case b.left != nil && b.left.start.Equal(next.start):
		next.calls = max(running, b.left.calls)
		if !follows {
			next.calls += b.today.calls - b.today.first
		}
	case b.today != nil && next.start.Before(b.today.end):
		next.calls = max(running, b.today.calls)
	}
	next.first = next.calls
	b.left = nil
	if !follows {
		b.left = b.today
	}
	b.today = next
	return true
}

// remaining returns how many calls are left today.
func (b *budget) remaining() int {
	if b.limit == 0 {
		return math.MaxInt
	}
	return max(0, b.limit-b.today.calls)
}

// pace spreads what is left of today's calls over what is left of the day.
// Without a stretch, the users' intervals make demand calls in a second.
func (b *budget) pace(now time.Time, demand float64) {
	switch {
	case b.limit == 0:
		b.ratio = 1
	case b.remaining() > 0: // else the last ratio stays
		b.ratio = max(1, demand*b.today.end.Sub(now).Seconds()/float64(b.remaining()))
	}
}

// stretched returns an interval stretched by the ratio, at most a century.
func (b *budget) stretched(interval time.Duration) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(float64(interval)*b.ratio, float64(century)))
}

// forfeit counts the elapsed share of today's calls as used: it is not known
// how many were.
func (b *budget) forfeit(now time.Time) {
	elapsed := now.Sub(b.today.start).Seconds() / b.today.length().Seconds()
	b.today.calls = max(b.today.calls, int(math.Ceil(elapsed*float64(b.limit))))
}
