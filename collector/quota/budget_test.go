package quota_test

import (
	"context"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// memory is a store that outlives guards.
type memory map[string][]byte

func (m memory) Put(changes map[string][]byte) func(context.Context) {
	for key, value := range changes {
		if value == nil {
			delete(m, key)
		} else {
			m[key] = value
		}
	}
	return func(context.Context) {}
}

// setup makes guards over one store and one clock.
type setup struct {
	*clock
	config quota.Config
}

func newSetup(limit int, users ...quota.User) *setup {
	s := &setup{clock: newClock()}
	s.config = quota.Config{
		Limits: quota.Limits{Users: users, RetryInterval: time.Minute, DailyLimit: limit, Zone: time.UTC},
		Now:    func() time.Time { return s.now }, Store: memory{},
	}
	return s
}

// guard returns a new guard, as after a restart.
func (s *setup) guard() *quota.Guard {
	s.config.Records = maps.Clone(s.config.Store.(memory))
	return quota.New(s.config)
}

// request makes a request for whoever is first in turn, and reports whether there was one.
func request(g *quota.Guard, result quota.Result) bool {
	turns := g.Due(0, 1)
	if len(turns) == 0 || !start(g, turns[0].WMID) {
		return false
	}
	finish(g, turns[0].WMID, result)
	return true
}

func (s *setup) at(text string) {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	s.now = t
}

func TestDailyLimit(t *testing.T) {
	s := newSetup(3, every(time.Minute, 1, 2, 3, 4, 5)...)
	s.at("2026-11-23 23:00")
	g := s.guard()
	for range 10 {
		request(g, quota.Result{})
	}
	status := g.Account()
	if status.Used != 3 || status.Remaining != 0 || status.Limit != 3 || status.Suppressed[quota.SuppressedDailyLimit] != 2*10 {
		t.Errorf("got %+v, want 3 calls, and 2 users passed over 10 times", status)
	}
	if want := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC); !status.Reset.Equal(want) {
		t.Errorf("got reset %v, want %v", status.Reset, want)
	}
	if g.Allows(4) || start(g, 4) {
		t.Error("a call over the limit is allowed")
	}
	g = s.guard()
	if request(g, quota.Result{}) {
		t.Error("a restart allows a call over the limit")
	}
	s.at("2026-11-24 00:00")
	if !request(g, quota.Result{}) || g.Account().Used != 1 {
		t.Errorf("a new day allows no call, or counts it wrongly: %+v", g.Account())
	}
}

// TestMidnight has calls run when the day ends: they count in both days, also
// if the process is killed under them.
func TestMidnight(t *testing.T) {
	for _, killed := range []bool{false, true} {
		s := newSetup(3, every(time.Minute, 1, 2, 3, 4, 5)...)
		s.at("2026-11-23 23:59")
		g := s.guard()
		start(g, 1)
		start(g, 2)
		s.at("2026-11-24 00:00")
		if killed {
			g = s.guard()
		}
		if got := g.Account().Used; got != 2 {
			t.Errorf("killed %v: got %d used at midnight, want 2", killed, got)
		}
		if !killed {
			finish(g, 1, quota.Result{})
			finish(g, 2, quota.Result{})
		}
		if !request(g, quota.Result{}) || request(g, quota.Result{}) {
			t.Errorf("killed %v: want one call of the three left", killed)
		}
	}
}

func TestRatio(t *testing.T) {
	s := newSetup(96, every(15*time.Minute, 1, 2)...)
	s.at("2026-11-23 00:00")
	g := s.guard()
	ratio := func() float64 {
		g.Due(0, 1)
		return g.Account().Ratio
	}
	if got := ratio(); got != 2 {
		t.Errorf("at first: got %v, want 192 calls wanted / 96 = 2", got)
	}
	start(g, 1)
	finish(g, 1, quota.Result{})
	if got, want := ratio(), 192./95; got != want {
		t.Errorf("after a call: got %v, want %v", got, want)
	}
	if got, want := g.Users()[0].Interval, time.Duration(float64(15*time.Minute)*ratio()); got != want {
		t.Errorf("got interval %v, want %v", got, want)
	}
	start(g, 2)
	finish(g, 2, quota.Result{Verdict: quota.VerdictBackOff}) // now every 30 minutes
	if got, want := ratio(), (96.+48)/94; got != want {
		t.Errorf("with a back-off: got %v, want %v", got, want)
	}
	s.at("2026-11-23 23:00")
	if got := ratio(); got != 1 {
		t.Errorf("with plenty left: got %v, want 1", got)
	}
	s.config.Users = every(time.Second, 1, 2)
	g = s.guard() // a restart with other intervals changes nothing of the count
	for range 3599 {
		s.add(time.Second)
		request(g, quota.Result{})
	}
	if status := g.Account(); status.Used != 96 || status.Remaining != 0 {
		t.Fatalf("got %+v, want all used", status)
	}
	last := g.Account().Ratio
	s.add(time.Millisecond)
	if got := ratio(); got != last || math.IsInf(got, 0) || math.IsNaN(got) {
		t.Errorf("with nothing left: got %v, want the last value %v", got, last)
	}
	g = s.guard()
	if got := ratio(); got != last {
		t.Errorf("after a restart: got %v, want the last value %v", got, last)
	}
}

func TestNoLimit(t *testing.T) {
	s := newSetup(0, every(time.Minute, 1)...)
	g := s.guard()
	request(g, quota.Result{})
	if status := g.Account(); status.Used != 1 || status.Limit != 0 || status.Ratio != 1 {
		t.Errorf("got %+v", status)
	}
}

// TestLost begins without what was known: the elapsed share counts as used.
func TestLost(t *testing.T) {
	s := newSetup(100, every(time.Minute, 1)...)
	s.at("2026-11-23 18:00")
	s.config.Store.(memory).Put(quota.LostRecords())
	for range 2 { // also after a restart
		if status := s.guard().Account(); status.Used != 75 || status.Remaining != 25 {
			t.Errorf("got %+v, want 75 used", status)
		}
	}
	if _, still := s.config.Store.(memory)["lost"]; still {
		t.Error("the record of the loss outlives its being taken account of")
	}
}

// TestOverflow has intervals that a vast ratio stretches.
func TestOverflow(t *testing.T) {
	s := newSetup(1, every(time.Millisecond, 1, 2)...)
	s.config.Users[1].MinInterval = 365 * 24 * time.Hour
	s.at("2026-11-23 00:00")
	g := s.guard()
	start(g, 2)
	finish(g, 2, quota.Result{})
	g.Due(0, 1)
	for _, user := range g.Users() {
		if user.Interval <= 0 {
			t.Errorf("got interval %v", user.Interval)
		}
	}
}

// TestClock sets the clock back and forward by days, with restarts and without.
func TestClock(t *testing.T) {
	const limit = 100
	for _, restart := range []bool{false, true} {
		s := newSetup(limit, every(15*time.Minute, 1, 2)...)
		s.at("2026-11-23 12:00")
		g := s.guard()
		step := func(to string) {
			s.at(to)
			if restart {
				g = s.guard()
			}
		}
		both := func() int {
			calls := 0
			for request(g, quota.Result{Followers: 1}) {
				calls++
			}
			return calls
		}
		if got := both(); got != 2 {
			t.Fatalf("got %d calls, want 2", got)
		}
		step("2026-11-20 12:00") // back
		if got := both(); got != 0 {
			t.Errorf("restart %v: set back: got %d calls at once, want 0", restart, got)
		}
		s.add(15 * time.Minute)
		if got := both(); got != 2 {
			t.Errorf("restart %v: set back: got %d calls after an interval, want 2", restart, got)
		}
		if got := g.Account().Used; got != 4 {
			t.Errorf("restart %v: set back: got %d used, want 4", restart, got)
		}
		step("2026-11-23 12:20") // right again
		if got := g.Account().Used; got != 4 {
			t.Errorf("restart %v: right again: got %d used, want 4", restart, got)
		}
		both()
		used := g.Account().Used
		step("2026-12-23 12:30") // forward by a month
		both()
		step("2026-11-23 12:40")
		if got := both(); got != 0 {
			t.Errorf("restart %v: right after a month ahead: got %d calls at once, want 0", restart, got)
		}
		if got := g.Account().Used; got != used+2 { // the two of the other day may have been of this
			t.Errorf("restart %v: right after a month ahead: got %d used, want %d", restart, got, used+2)
		}
		s.add(15 * time.Minute)
		if got := both(); got != 2 {
			t.Errorf("restart %v: right after a month ahead: got %d calls after an interval, want 2", restart, got)
		}
		for _, user := range g.Users() {
			if user.Value.At.After(s.now) {
				t.Errorf("restart %v: user %d has a value of the future", restart, user.WMID)
			}
		}
	}
}

// longestWait scrapes every minute for a while and returns the longest time
// without any call.
func (s *setup) longestWait(g *quota.Guard, duration time.Duration) time.Duration {
	var longest time.Duration
	end, last := s.now.Add(duration), s.now
	for s.now.Before(end) {
		for request(g, quota.Result{}) {
			longest = max(longest, s.now.Sub(last))
			last = s.now
		}
		s.add(time.Minute)
	}
	return max(longest, s.now.Sub(last))
}

// TestClockAndTightBudget sets the clock while every day's budget is used up:
// nobody waits for longer than the rest of the day that the clock shows.
func TestClockAndTightBudget(t *testing.T) {
	const usual = 30 * time.Minute
	for _, test := range []struct {
		name, there string
		stay        time.Duration
		back        string
		want        time.Duration
	}{
		{"ahead by ten days for an hour", "2026-12-03 12:00", time.Hour, "2026-11-23 13:00", usual + 5*time.Minute},
		{"back by three days", "2026-11-20 12:00", 0, "", 12*time.Hour + usual},
		{"back by a minute over midnight", "2026-11-22 23:59", 0, "", 13 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(48, every(15*time.Minute, 1)...)
			s.at("2026-11-19 00:00")
			g := s.guard()
			s.longestWait(g, 4*24*time.Hour+12*time.Hour) // to noon of 23 November
			s.at(test.there)
			if test.back != "" {
				s.longestWait(g, test.stay)
				s.at(test.back)
			}
			if got := s.longestWait(g, 14*24*time.Hour); got > test.want {
				t.Errorf("the longest wait was %v, want %v at most", got, test.want)
			}
		})
	}
}

// TestClockAroundMidnight jumps over midnight and back in ways that would grant
// a budget twice. Each step goes to a time and spends; the last finds nothing left.
func TestClockAroundMidnight(t *testing.T) {
	type step struct {
		to    string
		spend int
	}
	for name, steps := range map[string][]step{
		"a second back over midnight":         {{"2026-11-23 12:00", 100}, {"2026-11-24 00:00", 3}, {"2026-11-23 23:59", 0}},
		"an hour back, and on over midnight":  {{"2026-11-23 12:00", 20}, {"2026-11-24 00:00", 10}, {"2026-11-23 23:00", 70}, {"2026-11-24 00:00", 20}, {"2026-11-24 00:01", 0}},
		"days ahead, over midnight, and back": {{"2026-11-23 12:00", 100}, {"2026-11-27 23:50", 5}, {"2026-11-28 00:00", 5}, {"2026-11-23 12:30", 0}},
		"ahead twice, and back":               {{"2026-11-23 12:00", 100}, {"2026-11-27 12:00", 5}, {"2026-12-02 12:00", 5}, {"2026-11-23 12:30", 0}},
		"days back, and right again":          {{"2026-11-23 12:00", 90}, {"2026-11-20 12:00", 10}, {"2026-11-23 12:30", 0}},
	} {
		for _, restart := range []bool{false, true} {
			var users []int64 // who were never asked about are due at any time
			for wmid := range int64(200) {
				users = append(users, wmid+1)
			}
			s := newSetup(100, every(time.Hour, users...)...)
			s.at("2026-11-23 11:00")
			g := s.guard()
			for _, step := range steps {
				s.at(step.to)
				if restart {
					g = s.guard()
				}
				for range step.spend {
					if !start(g, users[0]) {
						t.Fatalf("%s, restart %v: no call is allowed at %s", name, restart, step.to)
					}
					finish(g, users[0], quota.Result{})
					users = users[1:]
				}
			}
			if status := g.Account(); status.Remaining != 0 {
				t.Errorf("%s, restart %v: %d calls are left", name, restart, status.Remaining)
			}
		}
	}
}

// TestClockAndRestarts sets the clock back and restarts all the time: that must
// not begin every wait anew.
func TestClockAndRestarts(t *testing.T) {
	for name, result := range map[string]quota.Result{"interval": {}, "pause": refused(quota.ReasonToken)} {
		s := newSetup(0, every(15*time.Minute, 1)...)
		s.at("2026-11-23 12:00")
		request(s.guard(), result)
		s.at("2026-11-18 12:00")
		waited := time.Duration(0)
		for ; waited < 2*time.Hour && !request(s.guard(), quota.Result{}); waited += 4 * time.Minute {
			s.add(4 * time.Minute)
		}
		if waited > 20*time.Minute {
			t.Errorf("%s: waited %v", name, waited)
		}
	}
}

// TestMidnightRatio queues calls at the end of a day with plenty left: they do
// not begin in the next, whose ratio is another.
func TestMidnightRatio(t *testing.T) {
	s := newSetup(10, every(time.Hour, 1, 2, 3, 4)...)
	s.at("2026-11-23 21:30")
	g := s.guard()
	for request(g, quota.Result{}) {
	}
	s.at("2026-11-23 23:59")
	if got := due(g, 4); got != "1 2 3 4" {
		t.Fatalf("got %s due", got)
	}
	s.at("2026-11-24 00:00")
	if start(g, 1) {
		t.Errorf("a call begins though the interval is now %v", g.Users()[0].Interval)
	}
}

// TestMidnightEnd has the end of a call be the first thing in a new day.
func TestMidnightEnd(t *testing.T) {
	s := newSetup(3, every(time.Minute, 1, 2)...)
	s.at("2026-11-23 23:59")
	g := s.guard()
	start(g, 1)
	s.at("2026-11-24 00:00")
	finish(g, 1, quota.Result{})
	if got := s.guard().Account().Used; got != 1 {
		t.Errorf("after a restart: got %d used, want 1", got)
	}
}

// TestZoneChange moves the day's beginning: it does not grant a second budget.
func TestZoneChange(t *testing.T) {
	s := newSetup(10, every(time.Minute, 1, 2)...)
	s.at("2026-11-23 12:00")
	g := s.guard()
	request(g, quota.Result{})
	s.config.Zone = time.FixedZone("east", 10*60*60)
	if got := s.guard().Account().Used; got != 1 {
		t.Errorf("a day that began earlier: got %d used, want 1", got)
	}
	s.config.Zone = time.FixedZone("west", -10*60*60)
	if got := s.guard().Account().Used; got != 1 {
		t.Errorf("a day that begins later: got %d used, want 1", got)
	}
}

// TestSetLimits changes the limit and the zone of a day that is under way: what
// was used stays used, and the day ends when it would have.
func TestSetLimits(t *testing.T) {
	s := newSetup(10, every(time.Hour, 1, 2)...)
	s.at("2026-11-23 12:00")
	g := s.guard()
	request(g, quota.Result{})
	request(g, quota.Result{})
	before := g.Account()
	limits := s.config.Limits
	for _, test := range []struct {
		limit, remaining int
		ratio            float64 // 12 hours of 2 users, 24 calls, on what remains
	}{{20, 18, 24. / 18}, {6, 4, 6}, {1, 0, 6}, {0, 0, 1}, {10, 8, 3}} {
		limits.DailyLimit, limits.Zone = test.limit, time.FixedZone("elsewhere", 3600*test.limit)
		g.SetLimits(limits)
		got := g.Account()
		if got.Limit != test.limit || got.Used != 2 || got.Remaining != test.remaining || got.Ratio != test.ratio || !got.Reset.Equal(before.Reset) {
			t.Errorf("limit %d: got %+v, want %d left and ratio %v", test.limit, got, test.remaining, test.ratio)
		}
	}
	limits.Users = every(time.Minute, 2, 3)
	g.SetLimits(limits)
	if got := due(g, 0); got != "3" {
		t.Errorf("got %s due, want the new user", got)
	}
	s.add(3 * time.Minute) // 2 was asked about just now, and its interval is stretched
	if got := due(g, 0); got != "3" {
		t.Errorf("got %s due, want the new user", got)
	}
	limits.DailyLimit = 0
	g.SetLimits(limits)
	if got := due(g, 0); got != "3 2" {
		t.Errorf("got %s due, want both, with the interval of now", got)
	}
}
