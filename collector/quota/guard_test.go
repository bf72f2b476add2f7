package quota_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// clock is a clock that stands still until it is moved.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) add(d time.Duration) { c.now = c.now.Add(d) }

func newGuard(c *clock, users ...quota.User) *quota.Guard {
	return quota.New(quota.Config{Limits: quota.Limits{Users: users, RetryInterval: time.Minute, Zone: time.UTC}, Now: func() time.Time { return c.now }})
}

// start reports whether a request starts.
func start(g *quota.Guard, wmid int64) bool {
	_, ok := g.Start(wmid)
	return ok
}

// finish ends a request.
func finish(g *quota.Guard, wmid int64, result quota.Result) quota.Transition {
	change, recorded := g.Finish(wmid, result)
	recorded(context.Background())
	return change
}

func every(interval time.Duration, wmids ...int64) []quota.User {
	var users []quota.User
	for _, wmid := range wmids {
		users = append(users, quota.User{WMID: wmid, MinInterval: interval})
	}
	return users
}

// due returns the WMIDs of the turns that the guard hands out.
func due(g *quota.Guard, ahead int) string {
	var wmids []string
	for _, turn := range g.Due(ahead, 1) {
		wmids = append(wmids, fmt.Sprint(turn.WMID))
	}
	return strings.Join(wmids, " ")
}

// TestIntervals runs a user through ends of calls and looks at the interval
// after each: not due a moment before it is over, due when it is.
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
		{"not billed, short interval", 30 * time.Second, []quota.Verdict{retry, retry}, []time.Duration{30 * time.Second, 30 * time.Second}},
		{"perhaps billed between", 15 * minute, []quota.Verdict{retry, retry, wait, retry}, []time.Duration{minute, 2 * minute, 15 * minute, minute}},
		{"the user's own", 15 * minute, []quota.Verdict{backOff, backOff, backOff, backOff, backOff, backOff, backOff, backOff, ok, backOff},
			[]time.Duration{30 * minute, hour, 2 * hour, 4 * hour, 8 * hour, 16 * hour, 24 * hour, 24 * hour, 15 * minute, 30 * minute}},
		{"the user's own, long interval", 48 * hour, []quota.Verdict{backOff, backOff}, []time.Duration{48 * hour, 48 * hour}},
		{"the user's own, nearly a day", 20 * hour, []quota.Verdict{backOff, backOff}, []time.Duration{24 * hour, 24 * hour}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			g := newGuard(c, quota.User{WMID: 1, MinInterval: test.minInterval})
			for i, verdict := range test.verdicts {
				if !start(g, 1) {
					t.Fatalf("call %d: refused when due", i)
				}
				c.add(3 * time.Second) // the call takes a while, which does not count
				finish(g, 1, quota.Result{Verdict: verdict})
				if got := g.Users()[0].Interval; got != test.want[i] {
					t.Errorf("call %d: got interval %v, want %v", i, got, test.want[i])
				}
				c.add(test.want[i] - 3*time.Second - time.Nanosecond)
				if start(g, 1) {
					t.Fatalf("call %d: allowed a moment too early", i)
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
		g.Start(wmid)
		finish(g, wmid, quota.Result{})
		c.add(time.Minute)
	}
	c.add(20 * time.Minute)
	if got, want := due(g, 4), "2 4 3 1 5"; got != want {
		t.Errorf("later: got %s, want those never asked about, then the most overdue: %s", got, want)
	}
	g.Start(2)
	if got, want := due(g, 4), "4 3 1 5"; got != want {
		t.Errorf("with one running: got %s, want %s", got, want)
	}
}

func TestDueAhead(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 1, 2, 3, 4)...)
	for wmid := range int64(4) {
		g.Start(wmid + 1)
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
			t.Errorf("%v after the last call, %d ahead: got %q, want %q", c.now.Sub(last), step.ahead, got, step.want)
		}
	}
	if start(g, 2) {
		t.Error("a call ahead of its moment was allowed")
	}
	if !g.Allows(2) || g.Allows(7) {
		t.Error("Allows: want a known user allowed, an unknown one not")
	}
}

func TestBeginOnce(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(time.Minute, 1)...)
	if !start(g, 1) || start(g, 1) || g.Allows(1) {
		t.Error("want one call at a time")
	}
	c.add(time.Hour)
	if start(g, 1) || len(g.Due(1, 1)) > 0 {
		t.Error("want no second call while one runs, however long")
	}
	finish(g, 1, quota.Result{Verdict: quota.VerdictWait, TimedOut: true})
	if turns := g.Due(1, 1); len(turns) != 1 || !turns[0].TimedOut {
		t.Errorf("got %+v, want the user to be due and hanging", turns)
	}
	if start(g, 2) {
		t.Error("a call for an unknown user was allowed")
	}
}

func TestUsers(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(15*time.Minute, 7, 8)...)
	first := c.now
	g.Start(7)
	c.add(time.Second)
	if change := finish(g, 7, quota.Result{Followers: 10, Following: 1}); change.Before.Completed || !change.After.Completed {
		t.Errorf("the first call: got %+v", change)
	}
	c.add(15 * time.Minute)
	g.Start(7)
	c.add(time.Second)
	if change := finish(g, 7, quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"}); change.Before.Last.Code != "" || change.After.Last.Code != "-404" {
		t.Errorf("got %+v", change)
	}
	got := g.Users()
	want := []quota.UserState{
		{
			User:  quota.User{WMID: 7, MinInterval: 15 * time.Minute},
			Value: quota.Value{Followers: 10, Following: 1, At: first.Add(time.Second)},
			Last:  quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"}, Completed: true, Failing: "-404",
			Started:  first.Add(15*time.Minute + time.Second),
			Interval: 30 * time.Minute, Due: first.Add(45*time.Minute + time.Second),
		},
		{User: quota.User{WMID: 8, MinInterval: 15 * time.Minute}, Interval: 15 * time.Minute},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestValuesFromTheFuture sets the clock back: a value must not stay fresh for longer because of that. States that were
// returned before do not change.
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
		if got.Value.Followers != followers || got.Previous.Followers != followers-1 || got.Value.At.After(c.now) || got.Previous.At.After(c.now) {
			t.Errorf("%s: at %v, got %+v", when, c.now, got)
		}
	}
	request(1)
	request(2)
	before := g.Users()[0]
	want := before
	c.add(-24 * time.Hour)
	due(g, 1)
	expect("set back", 2)
	if before != want {
		t.Errorf("the clock has changed a returned state to %+v, want %+v", before, want)
	}
	request(3)
	expect("requested again", 3)

	c.add(time.Hour)
	start(g, 7)
	c.add(-2 * time.Hour)
	finish(g, 7, quota.Result{Followers: 4})
	due(g, 1)
	expect("set back while a request was in flight", 4)
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
		g.Undo(1)
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
	g.Undo(1)
	if got := g.Account().Used; got != 1 {
		t.Errorf("the new day: got %d used, want 1", got)
	}
	s.at("2026-11-23 23:59") // set back by a minute
	if got := g.Account().Used; got != 1 {
		t.Errorf("the day before: got %d used, want 1", got)
	}
}

// TestUndoneProbe does not use up the pause's next probe.
func TestUndoneProbe(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1)...)
	g := s.guard()
	request(g, refused(quota.ReasonToken))
	s.add(5 * time.Minute)
	if !start(g, 1) {
		t.Fatal("no probe is allowed")
	}
	g.Undo(1)
	if !start(g, 1) {
		t.Error("no other probe is allowed at once")
	}
}
