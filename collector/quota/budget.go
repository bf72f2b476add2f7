package quota

import (
	"math"
	"slices"
	"time"
)

// budget is the daily budget of calls. It belongs to a guard, which locks it.
type budget struct {
	limit int // calls in a day; 0 = no limit
	zone  *time.Location
	ratio float64 // by which intervals are stretched; at least 1

	today *use
	known []*use // the day before, and those that the clock has jumped away from: a few
}

// use is how many calls were begun in a day, with those that were running when
// the day began.
type use struct {
	day
	calls   int
	first   int  // calls when the day was entered
	entered bool // by a jump of the clock; else it followed the day before
	left    bool // by a jump of the clock
}

// keepDays is how many days are remembered beside today.
const keepDays = 4

func newBudget(limit int, zone *time.Location) *budget {
	return &budget{limit: limit, zone: zone, ratio: 1}
}

// enter makes sure that today is the day of now, and reports whether it has
// become another. The given number of calls is running, which count in a day
// that begins.
//
// The clock is not trusted. A day that is known goes on where it was left, with
// what was spent since in the day that the clock showed in its place. One that
// it jumps back to, or that overlaps today because the zone is another, starts
// with what today has used. But when a day has passed from its beginning to its
// end, what was before it is over.
func (b *budget) enter(now time.Time, running int) bool {
	old := b.today
	if old != nil && old.contains(now) {
		return false
	}
	next := &use{day: dayOf(now, b.zone), calls: running}
	b.today = next
	if old == nil {
		return true
	}
	follows := next.start.Equal(old.end)
	next.entered = !follows
	at := slices.IndexFunc(b.known, func(u *use) bool { return u.start.Equal(next.start) })
	switch {
	case follows && !old.entered:
	case at >= 0:
		next.calls = max(running, b.known[at].calls) + old.calls - old.first
	case next.start.Before(old.end):
		next.calls = max(running, old.calls)
	}
	next.first = next.calls
	b.remember(old, follows)
	return true
}

// remember keeps a day that today has followed, or was jumped to from.
func (b *budget) remember(old *use, followed bool) {
	old.left = !followed
	b.known = slices.DeleteFunc(b.known, func(u *use) bool {
		return u.start.Equal(old.start) || u.start.Equal(b.today.start) || followed && !old.entered || !followed && !u.left
	})
	b.known = append(b.known, old)
	b.known = b.known[max(0, len(b.known)-keepDays):]
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
