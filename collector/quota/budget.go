package quota

import (
	"math"
	"time"
)

// keepDays is how long the use of past days is remembered, for clocks that are
// set back.
const keepDays = 30 * 24 * time.Hour

// budget is the daily budget of calls. It belongs to a guard, which locks it.
type budget struct {
	limit int // calls in a day; 0 = no limit
	zone  *time.Location

	today *use
	days  map[int64]*use // by start, in Unix time: today and others near it
	ratio float64        // by which intervals are stretched; at least 1
}

// use is how many calls were begun in a day, with those that were running when
// the day began.
type use struct {
	day
	calls int
}

func newBudget(limit int, zone *time.Location) *budget {
	return &budget{limit: limit, zone: zone, days: make(map[int64]*use), ratio: 1}
}

// enter makes sure that today is the day of now. The given number of calls is
// running, which count in a day that begins.
//
// The clock is not trusted: a day that was entered before goes on where it was
// left, and one that overlaps today, or comes before it, starts with what today
// has used.
func (b *budget) enter(now time.Time, running int) {
	if b.today != nil && b.today.contains(now) {
		return
	}
	d := dayOf(now, b.zone)
	next, known := b.days[d.start.Unix()]
	if !known {
		next = &use{day: d, calls: running}
		if b.today != nil && d.start.Before(b.today.end) {
			next.calls = max(running, b.today.calls)
		}
		b.days[d.start.Unix()] = next
	}
	b.today = next
	for start, u := range b.days {
		if now.Sub(u.end) > keepDays {
			delete(b.days, start)
		}
	}
}

// spend counts a call, today and in days that are known to come: then the clock
// was set back, and this may be one of those.
func (b *budget) spend() {
	for _, u := range b.days {
		if !u.start.Before(b.today.start) {
			u.calls++
		}
	}
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
