package quota_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// clock is a clock that only moves when it is set.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) add(d time.Duration) { c.now = c.now.Add(d) }

func newGuard(c *clock, users ...quota.User) *quota.Guard {
	return quota.New(quota.Config{
		Limits: quota.Limits{Users: users, RetryInterval: time.Minute, Zone: time.UTC},
		Now:    func() time.Time { return c.now },
	})
}

// numbers holds the number of the latest request by guard and WMID.
var numbers sync.Map

type numberKey struct {
	guard *quota.Guard
	wmid  int64 // 0 for the balance
}

// number returns the number of the latest request for a user.
func number(g *quota.Guard, wmid int64) uint64 {
	n, _ := numbers.Load(numberKey{g, wmid})
	return n.(uint64)
}

// start starts a request, and reports whether that is allowed.
func start(g *quota.Guard, wmid int64) bool {
	n, _, ok := g.Start(wmid)
	if ok {
		numbers.Store(numberKey{g, wmid}, n)
	}
	return ok
}

// undo takes back a request.
func undo(g *quota.Guard, wmid int64) { g.Undo(wmid, number(g, wmid)) }

// finish ends a request.
func finish(g *quota.Guard, wmid int64, result quota.Result) quota.Transition {
	change, waitFinished, ok := g.Finish(wmid, number(g, wmid), result)
	if !ok {
		panic("the request is not in flight")
	}
	waitFinished(context.Background()) //nolint:errcheck // the store of these tests cannot fail
	return change
}

// every returns users with the same interval.
func every(interval time.Duration, wmids ...int64) []quota.User {
	var users []quota.User
	for _, wmid := range wmids {
		users = append(users, quota.User{WMID: wmid, MinInterval: interval})
	}
	return users
}

// due returns the WMIDs of the users that are due, in order.
func due(g *quota.Guard, ahead int) string {
	var wmids []string
	for _, user := range g.Due(ahead, 1) {
		wmids = append(wmids, fmt.Sprint(user.WMID))
	}
	return strings.Join(wmids, " ")
}

// TestIntervals finishes requests for a user in different ways and checks the interval after each: the user is not due
// a nanosecond before it has elapsed, and due when it has.
func TestIntervals(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	const ok, retry, wait, backOff = quota.VerdictSuccess, quota.VerdictRetry, quota.VerdictWait, quota.VerdictBackOff
	tests := []struct {
		name        string
		minInterval time.Duration
		verdicts    []quota.Verdict
		want        []time.Duration
	}{
		{"success", 15 * minute, []quota.Verdict{ok, ok}, []time.Duration{15 * minute, 15 * minute}},
		{"perhaps billed", 15 * minute, []quota.Verdict{wait, wait}, []time.Duration{15 * minute, 15 * minute}},
		{"not billed", 15 * minute, []quota.Verdict{retry, retry, retry, retry, retry, retry, ok, retry},
			[]time.Duration{minute, 2 * minute, 4 * minute, 8 * minute, 15 * minute, 15 * minute, 15 * minute, minute}},
		{"not billed, short interval", 30 * time.Second, []quota.Verdict{retry, retry},
			[]time.Duration{30 * time.Second, 30 * time.Second}},
		{"perhaps billed in between", 15 * minute, []quota.Verdict{retry, retry, wait, retry},
			[]time.Duration{minute, 2 * minute, 15 * minute, minute}},
		{"user's own error", 15 * minute,
			[]quota.Verdict{backOff, backOff, backOff, backOff, backOff, backOff, backOff, backOff, ok, backOff},
			[]time.Duration{
				30 * minute, hour, 2 * hour, 4 * hour, 8 * hour, 16 * hour, 24 * hour, 24 * hour, 15 * minute, 30 * minute,
			}},
		{"user's own error, long interval", 48 * hour, []quota.Verdict{backOff, backOff},
			[]time.Duration{48 * hour, 48 * hour}},
		{"user's own error, nearly a day", 20 * hour, []quota.Verdict{backOff, backOff},
			[]time.Duration{24 * hour, 24 * hour}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			g := newGuard(c, quota.User{WMID: 1, MinInterval: test.minInterval})
			for i, verdict := range test.verdicts {
				if !start(g, 1) {
					t.Fatalf("request %d: not allowed when due", i)
				}
				c.add(3 * time.Second) // the interval starts with the request, not with its end
				finish(g, 1, quota.Result{Verdict: verdict})
				if got := g.Users()[0].Interval; got != test.want[i] {
					t.Errorf("request %d: got interval %v, want %v", i, got, test.want[i])
				}
				c.add(test.want[i] - 3*time.Second - time.Nanosecond)
				if start(g, 1) {
					t.Fatalf("after request %d: the next is allowed 1 ns too early", i)
				}
				c.add(time.Nanosecond)
			}
		})
	}
}

func TestDueOrder(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 1, 2, 3, 4, 5)...)
	if got, want := due(g, 4), "1 2 3 4 5"; got != want {
		t.Errorf("at first: got %s, want %s", got, want)
	}
	for _, wmid := range []int64{3, 1, 5} {
		start(g, wmid)
		finish(g, wmid, quota.Result{})
		c.add(time.Minute)
	}
	c.add(20 * time.Minute)
	if got, want := due(g, 4), "2 4 3 1 5"; got != want {
		t.Errorf("later: got %s, want %s: those never requested, then the most overdue", got, want)
	}
	start(g, 2)
	if got, want := due(g, 4), "4 3 1 5"; got != want {
		t.Errorf("with one in flight: got %s, want %s", got, want)
	}
}

func TestDueAhead(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 1, 2, 3, 4)...)
	for wmid := range int64(4) {
		start(g, wmid+1)
		finish(g, wmid+1, quota.Result{})
		c.add(300 * time.Millisecond)
	}
	last := c.now
	c.add(15*time.Minute - 1200*time.Millisecond - time.Second - time.Nanosecond)
	for _, step := range []struct {
		add   time.Duration
		ahead int
		want  string
	}{
		{0, 4, ""},
		{time.Nanosecond, 4, "1"},
		{600 * time.Millisecond, 4, "1 2 3"},
		{0, 2, "1 2"},
		{0, 0, ""},
		{400 * time.Millisecond, 4, "1 2 3 4"},
		{0, 1, "1 2"}, // 1 is due now, 2 is ahead
	} {
		c.add(step.add)
		if got := due(g, step.ahead); got != step.want {
			t.Errorf("%v after the last request, %d ahead: got %q, want %q", c.now.Sub(last), step.ahead, got, step.want)
		}
	}
	if start(g, 2) {
		t.Error("a request was allowed before the user is due")
	}
	if !g.Allows(2) || g.Allows(7) {
		t.Error("want a configured user allowed, and an unknown user not")
	}
}

func TestOneRequestPerUser(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(time.Minute, 1)...)
	if !start(g, 1) || start(g, 1) || g.Allows(1) {
		t.Error("want one request at a time")
	}
	c.add(time.Hour)
	if start(g, 1) || len(g.Due(1, 1)) > 0 {
		t.Error("want no second request while one is in flight, for however long")
	}
	finish(g, 1, quota.Result{Verdict: quota.VerdictWait, TimedOut: true})
	if users := g.Due(1, 1); len(users) != 1 || !users[0].TimedOut {
		t.Errorf("got %+v, want the user to be due and timed out", users)
	}
	if start(g, 2) {
		t.Error("a request for an unknown user was allowed")
	}
}

func TestUsers(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 7, 8)...)
	first := c.now
	start(g, 7)
	c.add(time.Second)
	change := finish(g, 7, quota.Result{Followers: 10, Following: 1})
	if change.Before.Completed || !change.After.Completed {
		t.Errorf("got %+v, want the first completed request", change)
	}
	c.add(15 * time.Minute)
	start(g, 7)
	c.add(time.Second)
	change = finish(g, 7, quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"})
	if change.Before.Last.Code != "" || change.After.Last.Code != "-404" {
		t.Errorf("got %+v, want a change from success to -404", change)
	}
	got := g.Users()
	want := []quota.UserState{
		{
			User:  quota.User{WMID: 7, MinInterval: 15 * time.Minute},
			Value: quota.Value{Followers: 10, Following: 1, At: first.Add(time.Second)},
			Last:  quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"}, Completed: true, Failing: "-404",
			FailingSince: first.Add(15*time.Minute + 2*time.Second),

			Started:  first.Add(15*time.Minute + time.Second),
			Interval: 30 * time.Minute, Due: first.Add(45*time.Minute + time.Second),
		},
		{User: quota.User{WMID: 8, MinInterval: 15 * time.Minute}, Interval: 15 * time.Minute},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestFailingSince checks that failures in a row keep the time of the first, also across a restart, as long as they
// are of the same kind.
func TestFailingSince(t *testing.T) {
	s := newSetup(0, every(time.Minute, 1)...)
	begin := s.now
	upstream, own := quota.Result{Verdict: quota.VerdictWait, Code: "timeout"},
		quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"}
	g := s.guard()
	for i, test := range []struct {
		result quota.Result
		since  time.Duration // since the beginning; negative for none
	}{
		{quota.Result{}, -1},
		{upstream, time.Hour},
		{refused(quota.ReasonBalance), time.Hour},
		{quota.Result{Verdict: quota.VerdictRetry, Code: "301"}, time.Hour},
		{own, 4 * time.Hour},
		{own, 4 * time.Hour},
		{upstream, 6 * time.Hour},
		{quota.Result{}, -1},
	} {
		s.now = begin.Add(time.Duration(i) * time.Hour)
		if !request(g, test.result) {
			t.Fatalf("%d: no request is allowed", i)
		}
		want := time.Time{}
		if test.since >= 0 {
			want = begin.Add(test.since)
		}
		if got := s.guard().Users()[0].FailingSince; !got.Equal(want) {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
	}
}

// TestValuesFromTheFuture sets the clock back: a value must not stay fresh for longer because of that. States that the
// guard has returned do not change.
func TestValuesFromTheFuture(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 7)...)
	request := func(followers int64) {
		c.add(time.Hour)
		if !start(g, 7) {
			t.Fatal("no request is allowed")
		}
		finish(g, 7, quota.Result{Followers: followers})
	}
	expect := func(when string, followers int64) {
		t.Helper()
		got := g.Users()[0]
		if got.Value.Followers != followers || got.Previous.Followers != followers-1 ||
			got.Value.At.After(c.now) || got.Previous.At.After(c.now) {
			t.Errorf("%s: got %+v, want values %d and %d, not later than %v", when, got, followers, followers-1, c.now)
		}
	}
	request(1)
	request(2)
	before := g.Users()[0]
	want := before
	c.add(-24 * time.Hour)
	due(g, 1)
	expect("clock set back", 2)
	if before != want {
		t.Errorf("a returned state has changed to %+v, want %+v", before, want)
	}
	request(3)
	expect("requested again", 3)

	c.add(time.Hour)
	start(g, 7)
	c.add(-2 * time.Hour)
	finish(g, 7, quota.Result{Followers: 4})
	due(g, 1)
	expect("clock set back while a request was in flight", 4)
}

// TestUndo takes back a request that was not sent: the user is as due as before it, and nothing is charged.
func TestUndo(t *testing.T) {
	s := newSetup(1000, every(15*time.Minute, 1, 2)...)
	s.at("2026-11-23 12:00")
	g := s.guard()
	request(g, quota.Result{})
	s.add(time.Hour)
	for range 2 {
		want := g.Users()[0].Due
		if !start(g, 1) {
			t.Fatal("no request is allowed")
		}
		s.add(6 * time.Second)
		undo(g, 1)
		if got := g.Users()[0]; got.InFlight || !got.Due.Equal(want) {
			t.Errorf("got %+v, want it due at %v", got, want)
		}
		if got := g.Account().Used; got != 1 {
			t.Errorf("got %d used, want 1", got)
		}
		g = s.guard() // the same after a restart
	}
	if n := g.Interrupted(); n != 0 {
		t.Errorf("got %d interrupted requests, want none", n)
	}
}

// TestUndoAtMidnight undoes a request that was charged to two days.
func TestUndoAtMidnight(t *testing.T) {
	s := newSetup(10, every(15*time.Minute, 1, 2)...)
	s.at("2026-11-23 23:59")
	g := s.guard()
	start(g, 1)
	start(g, 2)
	s.at("2026-11-24 00:00")
	undo(g, 1)
	if got := g.Account().Used; got != 1 {
		t.Errorf("the new day: got %d used, want 1", got)
	}
	s.at("2026-11-23 23:59") // set back by a minute
	if got := g.Account().Used; got != 1 {
		t.Errorf("the day before: got %d used, want 1", got)
	}
}

// TestUndoneProbe undoes a probe: another one is allowed at once.
func TestUndoneProbe(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1)...)
	g := s.guard()
	request(g, refused(quota.ReasonToken))
	s.add(5 * time.Minute)
	if !start(g, 1) {
		t.Fatal("no probe is allowed")
	}
	undo(g, 1)
	if !start(g, 1) {
		t.Error("no other probe is allowed")
	}
}

// TestUndoneProbeOfReplacedPause undoes a probe after another request has started a longer pause: that stays as it is.
func TestUndoneProbeOfReplacedPause(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1, 2, 3)...)
	s.at("2026-11-23 12:00")
	g := s.guard()
	start(g, 1)
	start(g, 2)
	finish(g, 2, refused(quota.ReasonRateLimit))
	s.add(30 * time.Second)
	if !start(g, 3) {
		t.Fatal("no probe is allowed")
	}
	finish(g, 1, refused(quota.ReasonDailyQuota))
	want := g.Account().Pause
	undo(g, 3)
	if got := g.Account().Pause; got != want || got.Reason != quota.ReasonDailyQuota {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
