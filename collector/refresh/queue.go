package refresh

import "github.com/bilibili-exporter/bilibili_exporter/collector/quota"

// waitingLine is a line of users that wait for a request, and the slots for their requests.
type waitingLine struct {
	due             []quota.DueUser
	slots, inFlight int
}

// pop removes the first user of the line.
func (l *waitingLine) pop() (wmid int64) {
	wmid = l.due[0].WMID
	l.due = l.due[1:]
	return wmid
}

// queue is what a refresh has still to do. Users whose last request timed out wait in a line of their own that has at
// most half of the slots, so that they cannot starve the others. It is not safe for concurrent use.
type queue struct {
	slots             int  // of both lines together
	dropped           bool // whether users have been dropped since the queue was filled
	regular, timedOut waitingLine
}

// resize changes the number of slots.
func (q *queue) resize(slots int) {
	q.slots, q.regular.slots, q.timedOut.slots = slots, slots, max(1, slots/2)
}

// fill replaces the users that wait.
func (q *queue) fill(users []quota.DueUser) {
	q.clear()
	q.dropped = false
	for _, user := range users {
		l := &q.regular
		if user.TimedOut {
			l = &q.timedOut
		}
		l.due = append(l.due, user)
	}
}

func (q *queue) clear() { q.regular.due, q.timedOut.due = nil, nil }

// next returns the line of the next user, nil if no user waits or no slot is free. It first drops users that allowed
// rejects from the front of both lines, with or without a free slot, so that a refused queue ends at once.
func (q *queue) next(allowed func(wmid int64) bool) *waitingLine {
	var next *waitingLine
	for _, l := range []*waitingLine{&q.regular, &q.timedOut} {
		for len(l.due) > 0 && !allowed(l.due[0].WMID) {
			l.pop()
			q.dropped = true
		}
		if len(l.due) == 0 || l.inFlight >= l.slots || q.inFlight() >= q.slots {
			continue
		}
		if next == nil || l.due[0].At.Before(next.due[0].At) {
			next = l
		}
	}
	return next
}

func (q *queue) inFlight() int { return q.regular.inFlight + q.timedOut.inFlight }

func (q *queue) waiting() bool { return len(q.regular.due)+len(q.timedOut.due) > 0 }
