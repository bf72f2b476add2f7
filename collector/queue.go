package collector

import (
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// lane is a line of users who wait for their turn, and the slots for their
// calls.
type lane struct {
	waiting        []quota.DueUser
	slots, running int
}

// queue is what a refresh has still to do: users who hung last time in a lane
// of their own, which has at most half of the slots, so that they cannot
// starve the others. It is not safe for concurrent use.
type queue struct {
	slots           int // of both lanes together
	prompt, hanging lane
}

// resize changes the number of slots.
func (q *queue) resize(slots int) {
	q.slots, q.prompt.slots, q.hanging.slots = slots, slots, max(1, slots/2)
}

// fill replaces those who wait.
func (q *queue) fill(turns []quota.DueUser) {
	q.clear()
	for _, turn := range turns {
		l := &q.prompt
		if turn.TimedOut {
			l = &q.hanging
		}
		l.waiting = append(l.waiting, turn)
	}
}

func (q *queue) clear() { q.prompt.waiting, q.hanging.waiting = nil, nil }

// next returns the lane whose first user is next, nil if none is or no slot is
// free. First it sends away, from the front of both lanes, whom allowed
// refuses: with or without a free slot, so that a refused queue ends at once.
func (q *queue) next(allowed func(wmid int64) bool) *lane {
	var next *lane
	for _, l := range []*lane{&q.prompt, &q.hanging} {
		for len(l.waiting) > 0 && !allowed(l.waiting[0].WMID) {
			l.waiting = l.waiting[1:]
		}
		if len(l.waiting) == 0 || l.running >= l.slots || q.running() >= q.slots {
			continue
		}
		if next == nil || l.waiting[0].At.Before(next.waiting[0].At) {
			next = l
		}
	}
	return next
}

func (q *queue) running() int { return q.prompt.running + q.hanging.running }

func (q *queue) waiting() bool { return len(q.prompt.waiting)+len(q.hanging.waiting) > 0 }

// until returns how long it is to the moment of the lane's first user.
func (l *lane) until() time.Duration { return time.Until(l.waiting[0].At) }

// first returns the lane's first user.
func (l *lane) first() int64 { return l.waiting[0].WMID }

// pop takes the lane's first user out of it.
func (l *lane) pop() int64 {
	wmid := l.first()
	l.waiting = l.waiting[1:]
	return wmid
}
