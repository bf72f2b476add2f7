package refresh

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// TestQueue pops users until no slot is free. Letters are users; the requests of capital letters have timed out.
func TestQueue(t *testing.T) {
	for _, test := range []struct {
		name     string
		slots    int
		due      string // in the order in which they became due
		rejected string
		want     string
	}{
		{"regular only", 4, "abcdef", "", "abcd"},
		{"timed out only", 4, "ABCDEF", "", "AB"},
		{"one slot", 1, "ABab", "", "A"},
		{"no more than the slots in total", 4, "ABCDabcd", "", "ABab"},
		{"most overdue first, across lines", 6, "aBcDeF", "", "aBcDeF"},
		{"timed out last", 4, "abcdAB", "", "abcd"},
		{"the first users are rejected", 2, "abcdef", "abc", "de"},
		{"all users are rejected", 2, "aAbB", "aAbB", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var due []quota.DueUser
			for i, c := range test.due {
				due = append(due, quota.DueUser{WMID: int64(c), At: time.Unix(int64(i), 0), TimedOut: c < 'a'})
			}
			var q queue
			q.resize(test.slots)
			q.fill(due)
			allowed := func(wmid int64) bool { return !strings.ContainsRune(test.rejected, rune(wmid)) }
			var got strings.Builder
			for l := q.next(allowed); l != nil; l = q.next(allowed) {
				fmt.Fprintf(&got, "%c", l.pop())
				l.inFlight++
			}
			if got.String() != test.want {
				t.Errorf("got %s, want %s", &got, test.want)
			}
		})
	}
}

// TestQueueRejectedWithoutSlot rejects all users of a queue without a free slot: the queue becomes empty.
func TestQueueRejectedWithoutSlot(t *testing.T) {
	var q queue
	q.resize(1)
	q.fill([]quota.DueUser{{WMID: 1}, {WMID: 2}, {WMID: 3, TimedOut: true}})
	q.regular.inFlight = 1
	if q.next(func(int64) bool { return true }) != nil || !q.waiting() {
		t.Error("want a queue that waits for a slot")
	}
	if q.next(func(int64) bool { return false }) != nil || q.waiting() {
		t.Error("want the queue to become empty without a free slot")
	}
}
