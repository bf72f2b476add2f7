package collector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// TestQueue pops users while slots last; capital letters hang.
func TestQueue(t *testing.T) {
	for _, test := range []struct {
		name    string
		slots   int
		turns   string // in the order of their moments
		refused string
		want    string
	}{
		{"prompt only", 4, "abcdef", "", "abcd"},
		{"hanging only", 4, "ABCDEF", "", "AB"},
		{"one slot", 1, "ABab", "", "A"},
		{"together no more than the slots", 4, "ABCDabcd", "", "ABab"},
		{"most overdue first, across lanes", 6, "aBcDeF", "", "aBcDeF"},
		{"hanging last", 4, "abcdAB", "", "abcd"},
		{"the front is refused", 2, "abcdef", "abc", "de"},
		{"all are refused", 2, "aAbB", "aAbB", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var turns []quota.DueUser
			for i, c := range test.turns {
				turns = append(turns, quota.DueUser{WMID: int64(c), At: time.Unix(int64(i), 0), TimedOut: c < 'a'})
			}
			var q queue
			q.resize(test.slots)
			q.fill(turns)
			allowed := func(wmid int64) bool { return !strings.ContainsRune(test.refused, rune(wmid)) }
			var got strings.Builder
			for l := q.next(allowed); l != nil; l = q.next(allowed) {
				fmt.Fprintf(&got, "%c", l.pop())
				l.running++
			}
			if got.String() != test.want {
				t.Errorf("got %s, want %s", &got, test.want)
			}
		})
	}
}

// TestQueueRefusedWithoutASlot empties a queue that waits for a slot.
func TestQueueRefusedWithoutASlot(t *testing.T) {
	var q queue
	q.resize(1)
	q.fill([]quota.DueUser{{WMID: 1}, {WMID: 2}, {WMID: 3, TimedOut: true}})
	q.prompt.running = 1
	if q.next(func(int64) bool { return true }) != nil || !q.waiting() {
		t.Error("want a queue that waits for a slot")
	}
	if q.next(func(int64) bool { return false }) != nil || q.waiting() {
		t.Error("want a refused queue to end without a slot")
	}
}
