package quota_test

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// unbilled returns a result that the vendor does not count.
func unbilled(result quota.Result) quota.Result {
	result.Unbilled = true
	return result
}

// TestRefunds charges a request when it starts, and refunds it when its response proves that it does not count.
func TestRefunds(t *testing.T) {
	for name, test := range map[string]struct {
		result quota.Result
		want   int
	}{
		"value":                 {quota.Result{}, 1},
		"collection failed":     {quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true}, 0},
		"refused":               {unbilled(refused(quota.ReasonBalance)), 0},
		"invalid parameter":     {quota.Result{Verdict: quota.VerdictBackOff, Code: "400", Unbilled: true}, 0},
		"billed, without value": {quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"}, 1},
		"timeout":               {quota.Result{Verdict: quota.VerdictWait, Code: "timeout", TimedOut: true}, 1},
	} {
		s := newSetup(10, every(time.Hour, 1, 2)...)
		g := s.guard()
		start(g, 1)
		if got := g.Account(); got.Used != 1 || got.Remaining != 9 {
			t.Errorf("%s: in flight: got %+v, want 1 used", name, got)
		}
		finish(g, 1, test.result)
		for _, g := range []*quota.Guard{g, s.guard()} {
			if got := g.Account(); got.Used != test.want || got.Remaining != 10-test.want {
				t.Errorf("%s: got %+v, want %d used", name, got, test.want)
			}
		}
	}
}

// TestRefundsKeepTheDay lets six users fail unbilled with a budget of six: the day is not over.
func TestRefundsKeepTheDay(t *testing.T) {
	s := newSetup(6, every(time.Hour, 1, 2, 3, 4, 5, 6)...)
	s.at("2026-11-23 00:00")
	g := s.guard()
	for wmid := range int64(6) {
		start(g, wmid+1)
	}
	if g.Account().Remaining != 0 {
		t.Error("requests in flight are not charged")
	}
	for wmid := range int64(6) {
		finish(g, wmid+1, quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true})
	}
	if got := g.Account(); got.Remaining != 6 {
		t.Errorf("got %+v, want the whole budget", got)
	}
}

// TestRefundsAtMidnight refunds a request in flight at midnight from both days.
func TestRefundsAtMidnight(t *testing.T) {
	unbilled := quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true}
	s := newSetup(10, every(time.Hour, 1, 2, 3)...)
	s.at("2026-11-23 23:59")
	g := s.guard()
	for wmid := range int64(3) {
		start(g, wmid+1)
	}
	s.at("2026-11-24 00:00")
	finish(g, 1, unbilled)
	finish(g, 2, quota.Result{})
	if got := g.Account().Used; got != 2 {
		t.Errorf("the new day: got %d used, want 2", got)
	}
	s.at("2026-11-23 23:59") // the clock is set back
	if got := g.Account().Used; got != 2 {
		t.Errorf("the day before: got %d used, want 2", got)
	}
	finish(g, 3, unbilled)
	for _, g := range []*quota.Guard{g, s.guard()} {
		if got := g.Account().Used; got != 1 {
			t.Errorf("the day before: got %d used after another refund, want 1", got)
		}
	}
	s.at("2026-11-24 00:00")
	for _, g := range []*quota.Guard{g, s.guard()} {
		if got := g.Account().Used; got != 1 {
			t.Errorf("the new day again: got %d used, want 1", got)
		}
	}
}

// TestRefundProperties draws starts, results, kills, midnights and jumps of the clock. A model of the vendor, which
// counts a request in the day in which it arrives, never counts more than the limit, and nothing is refunded twice.
func TestRefundProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 12
		s := newSetup(limit, every(time.Second, 1, 2, 3, 4, 5, 6, 7, 8)...)
		s.at("2026-11-23 12:00")
		g := s.guard()
		// counted are the requests that the vendor counts, or may count, by date of their start.
		counted := make(map[string]int)
		flying, left := make(map[int64]string), make(map[int64]string)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			wmid := int64(rapid.IntRange(1, 8).Draw(t, "wmid"))
			switch rapid.IntRange(0, 12).Draw(t, "what") {
			case 0:
				s.add(time.Duration(rapid.IntRange(1, 20).Draw(t, "hours")) * time.Hour)
			case 1: // killed
				g = s.guard()
				maps.Copy(left, flying)
				clear(flying)
			case 2, 3, 4, 5, 6, 7:
				s.add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "seconds")) * time.Second)
				if start(g, wmid) {
					flying[wmid] = s.now.Format(time.DateOnly)
					counted[flying[wmid]]++
				}
			default:
				date, ok := flying[wmid]
				if !ok {
					continue
				}
				delete(flying, wmid)
				result := quota.Result{}
				if rapid.Bool().Draw(t, "unbilled") {
					counted[date]--
					result = quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true}
				}
				finish(g, wmid, result)
			}
			date := s.now.Format(time.DateOnly)
			if counted[date] > limit {
				t.Fatalf("%d requests count on %s", counted[date], date)
			}
			if used := g.Account().Used; used < counted[date] || used > limit+len(flying)+len(left) {
				t.Fatalf("got %d used on %s, of which %d count", used, date, counted[date])
			}
		}
	})
}
