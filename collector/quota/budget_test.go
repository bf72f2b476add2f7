package quota_test

import (
	"context"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// memory is a store in memory. It survives simulated restarts.
type memory map[string][]byte

func (m memory) Put(_ int64, changes map[string][]byte) func(context.Context) error {
	for key, value := range changes {
		if value == nil {
			delete(m, key)
		} else {
			m[key] = value
		}
	}
	return func(context.Context) error { return nil }
}

// setup creates guards that share a store and a clock.
type setup struct {
	*clock
	config quota.Config
}

func newSetup(limit int, users ...quota.User) *setup {
	s := &setup{clock: newClock()}
	s.config = quota.Config{
		Limits: quota.Limits{Users: users, RetryInterval: time.Minute, DailyLimit: limit, Zone: time.UTC},
		Now:    func() time.Time { return s.now }, Store: memory{}, Term: 1,
	}
	return s
}

// guard returns a new guard, as after a restart.
func (s *setup) guard() *quota.Guard {
	s.config.Records = maps.Clone(s.config.Store.(memory))
	return quota.New(s.config)
}

// request starts and finishes a request for the first due user, and reports whether one was allowed.
func request(g *quota.Guard, result quota.Result) bool {
	users := g.Due(0, 1)
	if len(users) == 0 || !start(g, users[0].WMID) {
		return false
	}
	finish(g, users[0].WMID, result)
	return true
}

// at sets the clock.
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
	suppressed := status.Suppressed[quota.SuppressedDailyLimit]
	if status.Used != 3 || status.Remaining != 0 || status.Limit != 3 || suppressed != 2*10 {
		t.Errorf("got %+v, want 3 requests, and 2 users suppressed 10 times", status)
	}
	if want := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC); !status.Reset.Equal(want) {
		t.Errorf("got reset %v, want %v", status.Reset, want)
	}
	if g.Allows(4) || start(g, 4) {
		t.Error("a request over the limit is allowed")
	}
	g = s.guard()
	if request(g, quota.Result{}) {
		t.Error("after a restart, a request over the limit is allowed")
	}
	s.at("2026-11-24 00:00")
	if !request(g, quota.Result{}) || g.Account().Used != 1 {
		t.Errorf("on a new day: got %+v, want one request allowed and counted", g.Account())
	}
}

// TestMidnight has requests in flight when the day ends: they count for both days, even if the process is killed while
// they are in flight.
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
			t.Errorf("killed %v: want exactly one more request allowed", killed)
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
		t.Errorf("at first: got %v, want 192 requests a day / 96 = 2", got)
	}
	start(g, 1)
	finish(g, 1, quota.Result{})
	if got, want := ratio(), 192./95; got != want {
		t.Errorf("after a request: got %v, want %v", got, want)
	}
	if got, want := g.Users()[0].Interval, time.Duration(float64(15*time.Minute)*ratio()); got != want {
		t.Errorf("got interval %v, want %v", got, want)
	}
	start(g, 2)
	finish(g, 2, quota.Result{Verdict: quota.VerdictBackOff}) // now every 30 minutes
	if got, want := ratio(), (96.+48)/94; got != want {
		t.Errorf("with backoff: got %v, want %v", got, want)
	}
	s.at("2026-11-23 23:00")
	if got := ratio(); got != 1 {
		t.Errorf("with plenty left: got %v, want 1", got)
	}
	s.config.Users = every(time.Second, 1, 2)
	g = s.guard() // a restart with other intervals does not change the count
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
		t.Errorf("got %+v, want 1 used, no limit and ratio 1", status)
	}
}

// TestLost starts after a loss of the records: the elapsed share of the budget counts as used.
func TestLost(t *testing.T) {
	s := newSetup(100, every(time.Minute, 1)...)
	s.at("2026-11-23 18:00")
	s.config.Store.(memory).Put(1, quota.LostRecords())
	for range 2 { // also after a restart
		if status := s.guard().Account(); status.Used != 75 || status.Remaining != 25 {
			t.Errorf("got %+v, want 75 used", status)
		}
	}
	if _, still := s.config.Store.(memory)["lost"]; still {
		t.Error("the record of the loss was not deleted")
	}
}

// TestOverflow stretches intervals by a very large ratio.
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
			t.Errorf("got interval %v, want a positive one", user.Interval)
		}
	}
}

// TestClock sets the clock back and forward by days, with and without restarts.
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
		requestDue := func() int {
			requests := 0
			for request(g, quota.Result{Followers: 1}) {
				requests++
			}
			return requests
		}
		if got := requestDue(); got != 2 {
			t.Fatalf("got %d requests, want 2", got)
		}
		step("2026-11-20 12:00") // back
		if got := requestDue(); got != 0 {
			t.Errorf("restart %v: set back: got %d requests at once, want 0", restart, got)
		}
		s.add(15 * time.Minute)
		if got := requestDue(); got != 2 {
			t.Errorf("restart %v: set back: got %d requests after an interval, want 2", restart, got)
		}
		if got := g.Account().Used; got != 4 {
			t.Errorf("restart %v: set back: got %d used, want 4", restart, got)
		}
		step("2026-11-23 12:20") // corrected
		if got := g.Account().Used; got != 4 {
			t.Errorf("restart %v: corrected: got %d used, want 4", restart, got)
		}
		requestDue()
		used := g.Account().Used
		step("2026-12-23 12:30") // forward by a month
		requestDue()
		step("2026-11-23 12:40")
		if got := requestDue(); got != 0 {
			t.Errorf("restart %v: corrected after a month ahead: got %d requests at once, want 0", restart, got)
		}
		if got := g.Account().Used; got != used+2 { // the two requests of the other date may belong to this day
			t.Errorf("restart %v: corrected after a month ahead: got %d used, want %d", restart, got, used+2)
		}
		s.add(15 * time.Minute)
		if got := requestDue(); got != 2 {
			t.Errorf("restart %v: corrected after a month ahead: got %d requests after an interval, want 2", restart, got)
		}
		for _, user := range g.Users() {
			if user.Value.At.After(s.now) {
				t.Errorf("restart %v: user %d has a value from the future", restart, user.WMID)
			}
		}
	}
}

// longestWait scrapes every minute for the duration and returns the longest time without a request.
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

// TestClockAndTightBudget sets the clock while the budget of every day is used up: no user waits for longer than the
// rest of the day that the clock shows.
func TestClockAndTightBudget(t *testing.T) {
	const usual = 30 * time.Minute
	for _, test := range []struct {
		name, to string
		stay     time.Duration
		back     string
		want     time.Duration
	}{
		{"ahead by ten days for an hour", "2026-12-03 12:00", time.Hour, "2026-11-23 13:00", usual + 5*time.Minute},
		{"back by two days", "2026-11-21 12:00", 0, "", 12*time.Hour + usual},
		{"back by three days", "2026-11-20 12:00", 0, "", 12*time.Hour + usual},
		{"back by a minute across midnight", "2026-11-22 23:59", 0, "", 13 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(48, every(15*time.Minute, 1)...)
			s.at("2026-11-19 00:00")
			g := s.guard()
			s.longestWait(g, 4*24*time.Hour+12*time.Hour) // to noon of 23 November
			s.at(test.to)
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

// TestClockAroundMidnight sets the clock across midnight and back in ways that could grant a budget twice. Each step
// sets the clock and then sends requests. After the last step, the budget must be used up.
func TestClockAroundMidnight(t *testing.T) {
	type step struct {
		to       string
		requests int
	}
	for name, steps := range map[string][]step{
		"back by a minute across midnight": {
			{"2026-11-23 12:00", 100}, {"2026-11-24 00:00", 3}, {"2026-11-23 23:59", 0},
		},
		"back by an hour, then across midnight again": {
			{"2026-11-23 12:00", 20}, {"2026-11-24 00:00", 10}, {"2026-11-23 23:00", 70}, {"2026-11-24 00:00", 20},
			{"2026-11-24 00:01", 0},
		},
		"days ahead, across midnight, and back": {
			{"2026-11-23 12:00", 100}, {"2026-11-27 23:50", 5}, {"2026-11-28 00:00", 5}, {"2026-11-23 12:30", 0},
		},
		"ahead twice, and back": {
			{"2026-11-23 12:00", 100}, {"2026-11-27 12:00", 5}, {"2026-12-02 12:00", 5}, {"2026-11-23 12:30", 0},
		},
		"days back, then corrected": {
			{"2026-11-23 12:00", 90}, {"2026-11-20 12:00", 10}, {"2026-11-23 12:30", 0},
		},
	} {
		for _, restart := range []bool{false, true} {
			var users []int64 // users that were never requested are always due
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
				for range step.requests {
					if !start(g, users[0]) {
						t.Fatalf("%s, restart %v: no request is allowed at %s", name, restart, step.to)
					}
					finish(g, users[0], quota.Result{})
					users = users[1:]
				}
			}
			if status := g.Account(); status.Remaining != 0 {
				t.Errorf("%s, restart %v: got %d requests remaining, want 0", name, restart, status.Remaining)
			}
		}
	}
}

// TestClockAndRestarts sets the clock back and then restarts again and again: no restart may start the wait again.
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
			t.Errorf("%s: waited %v, want at most 20m", name, waited)
		}
	}
}

// TestMidnightRatio has users become due at the end of a day with plenty of budget: they are not requested on the next
// day, which has another ratio.
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
		t.Errorf("a request is allowed although the interval is now %v", g.Users()[0].Interval)
	}
}

// TestFinishAfterMidnight has the end of a request be the first event of a new day.
func TestFinishAfterMidnight(t *testing.T) {
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

// TestCutOffAtMidnight cuts off a request shortly before or after midnight, by a restart or a timeout. The vendor may
// count it on either day, and no further restart forgets it.
func TestCutOffAtMidnight(t *testing.T) {
	for name, test := range map[string]struct {
		at      string
		timeout bool
	}{
		"restart before": {"2026-11-23 23:59", false},
		"restart after":  {"2026-11-24 00:00", false},
		"timeout before": {"2026-11-23 23:59", true},
		"timeout after":  {"2026-11-24 00:00", true},
	} {
		s := newSetup(10, every(time.Hour, 1, 2)...)
		s.at("2026-11-23 23:58")
		g := s.guard()
		start(g, 1)
		s.at(test.at)
		if test.timeout {
			finish(g, 1, quota.Result{Verdict: quota.VerdictWait, TimedOut: true})
		}
		s.guard()
		g = s.guard()
		s.at("2026-11-24 00:01")
		if got := g.Account().Used; got != 1 {
			t.Errorf("%s: got %d used, want 1", name, got)
		}
		s.at("2026-11-25 00:01")
		if got := g.Account().Used; got != 0 {
			t.Errorf("%s, the next day: got %d used, want 0", name, got)
		}
	}
}

// TestZoneChange moves the start of the day: that does not grant a second budget.
func TestZoneChange(t *testing.T) {
	s := newSetup(10, every(time.Minute, 1, 2)...)
	s.at("2026-11-23 12:00")
	g := s.guard()
	request(g, quota.Result{})
	s.config.Zone = time.FixedZone("east", 10*60*60)
	if got := s.guard().Account().Used; got != 1 {
		t.Errorf("a day that starts earlier: got %d used, want 1", got)
	}
	s.config.Zone = time.FixedZone("west", -10*60*60)
	if got := s.guard().Account().Used; got != 1 {
		t.Errorf("a day that starts later: got %d used, want 1", got)
	}
}

// TestSetLimits changes the limit and the zone during a day: what is used and when the day ends do not change.
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
		ratio            float64 // 24 requests in the remaining 12 hours / the remaining budget
	}{{20, 18, 24. / 18}, {6, 4, 6}, {1, 0, 6}, {0, 0, 1}, {10, 8, 3}} {
		limits.DailyLimit, limits.Zone = test.limit, time.FixedZone("elsewhere", 3600*test.limit)
		g.SetLimits(limits)
		got := g.Account()
		if got.Limit != test.limit || got.Used != 2 || got.Remaining != test.remaining || got.Ratio != test.ratio ||
			!got.Reset.Equal(before.Reset) {
			t.Errorf("limit %d: got %+v, want 2 used, %d remaining, ratio %v, reset %v",
				test.limit, got, test.remaining, test.ratio, before.Reset)
		}
	}
	limits.Users = every(time.Minute, 2, 3)
	g.SetLimits(limits)
	if got := due(g, 0); got != "3" {
		t.Errorf("got %s due, want the new user", got)
	}
	s.add(3 * time.Minute) // 2 was requested recently, and its interval is stretched
	if got := due(g, 0); got != "3" {
		t.Errorf("got %s due, want the new user", got)
	}
	limits.DailyLimit = 0
	g.SetLimits(limits)
	if got := due(g, 0); got != "3 2" {
		t.Errorf("got %s due, want 3 2: without a limit, no interval is stretched", got)
	}
}
