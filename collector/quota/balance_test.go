package quota_test

import (
	"math"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

func startBalance(g *quota.Guard) bool {
	n, _, ok := g.StartBalance()
	if ok {
		numbers.Store(numberKey{g, 0}, n)
	}
	return ok
}

func finishBalance(g *quota.Guard, amount float64, currency string, ok bool) {
	g.FinishBalance(number(g, 0), amount, currency, ok)
}

// TestBalance requests the balance once per interval, also across restarts, and charges nothing for it.
func TestBalance(t *testing.T) {
	s := newSetup(10, every(time.Hour, 1)...)
	g := s.guard()
	if startBalance(g) {
		t.Error("a balance is requested without being configured")
	}
	s.config.BalanceInterval = time.Hour
	g = s.guard()
	if !startBalance(g) || startBalance(g) {
		t.Error("want one request for the balance at a time")
	}
	s.add(2 * time.Hour)
	if startBalance(g) {
		t.Error("another balance is requested while a request is in flight")
	}
	s.add(-2 * time.Hour)
	finishBalance(g, 123.45, "CNY", true)
	want := quota.Balance{Amount: 123.45, Currency: "CNY", At: s.now}
	if got := g.Account(); got.Balance != want || got.Used != 0 {
		t.Errorf("got %+v, want %+v and nothing used", got, want)
	}
	s.add(time.Hour - time.Nanosecond)
	if startBalance(g) || startBalance(s.guard()) {
		t.Error("a balance is requested again before the interval has elapsed")
	}
	s.add(time.Nanosecond)
	g = s.guard()
	if !startBalance(g) {
		t.Fatal("no balance is requested after the interval")
	}
	g = s.guard() // killed while it was in flight
	if startBalance(g) {
		t.Error("a balance is requested again after a kill")
	}
	s.add(time.Hour)
	startBalance(g)
	finishBalance(g, 0, "", false)
	if got := g.Account().Balance; !got.At.Equal(want.At) {
		t.Errorf("a failure changed the balance to %+v", got)
	}
	last := want.At.Add(3 * time.Hour)
	if g.Account().BalanceExpired(time.Hour, last) || !g.Account().BalanceExpired(time.Hour, last.Add(1)) {
		t.Error("want a balance to expire after three intervals")
	}
}

// TestBalancePauses pauses with the account, and not with what concerns the endpoint of users only.
func TestBalancePauses(t *testing.T) {
	for _, reason := range quota.Reasons() {
		s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5)...)
		s.config.BalanceInterval = time.Minute
		g := s.guard()
		if reason == quota.ReasonOutage {
			for range 5 {
				request(g, upstream())
			}
		} else {
			request(g, refused(reason))
		}
		s.expectPause(t, g, reason)
		want := reason == quota.ReasonDailyQuota || reason == quota.ReasonRateLimit || reason == quota.ReasonOutage
		if got := startBalance(g); got != want {
			t.Errorf("%s: got %v, want %v", reason, got, want)
		}
	}
}

// TestSpentPerDay follows a balance for some days, with a payment and another currency.
func TestSpentPerDay(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = 10 * time.Minute
	g := s.guard()
	amount := 100.
	step := func(change float64, currency string) float64 {
		s.add(10 * time.Minute)
		amount += change
		startBalance(g)
		finishBalance(g, amount, currency, true)
		g = s.guard()
		return g.Account().SpentPerDay
	}
	if got := step(0, "CNY"); got != 0 {
		t.Errorf("at first: got %v, want 0", got)
	}
	var got float64
	for range 6 * 24 * 2 {
		got = step(-0.5, "CNY")
	}
	if got < 71 || got > 73 { // 144 times 0.5
		t.Errorf("got %v spent in a day, want 72", got)
	}
	for range 6 * 12 {
		got = step(-0.25, "CNY")
	}
	if got < 53 || got > 55 { // half a day at each pace
		t.Errorf("got %v spent in a day, want 54", got)
	}
	if paid := step(1000, "CNY"); paid < 52 || paid > 55 {
		t.Errorf("after a payment: got %v, want 54", paid)
	}
	if other := step(0, "USD"); other != 0 {
		t.Errorf("in another currency: got %v, want 0", other)
	}
	s.add(-time.Hour) // the clock is set back
	startBalance(g)
	if got := g.Account().Balance.At; got.After(s.now) {
		t.Errorf("got a balance of %v at %v", got, s.now)
	}
}

// TestSpentPerDayWindow compares the pace with the amounts at both ends of the last day, to the half hour before it.
func TestSpentPerDayWindow(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = 10 * time.Minute
	g := s.guard()
	first := s.now
	amounts := map[time.Time]float64{} // by time
	amount := 1e6
	for i := range 6 * 24 * 3 {
		amount -= float64(i % 17)
		amounts[s.now] = amount
		startBalance(g)
		finishBalance(g, amount, "CNY", true)
		from := first
		for !from.Add(24*time.Hour + 30*time.Minute).After(s.now) {
			from = from.Add(30 * time.Minute)
		}
		want := 0.
		if span := s.now.Sub(from); span >= time.Hour {
			want = (amounts[from] - amount) * float64(24*time.Hour) / float64(span)
		}
		if got := g.Account().SpentPerDay; math.Abs(got-want) > 1e-6 {
			t.Fatalf("after %v: got %v, want %v", s.now.Sub(first), got, want)
		}
		s.add(10 * time.Minute)
	}
}

// TestSpentPerDayOfRareBalances has an interval of two days: the pace is that of the last one.
func TestSpentPerDayOfRareBalances(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = 48 * time.Hour
	g := s.guard()
	for i, amount := range []float64{100, 90, 50, 49} {
		startBalance(g)
		finishBalance(g, amount, "CNY", true)
		if got, want := g.Account().SpentPerDay, []float64{0, 5, 20, 0.5}[i]; got != want {
			t.Errorf("balance %d: got %v spent per day, want %v", i, got, want)
		}
		s.add(48 * time.Hour)
	}
}

// TestBalanceClock sets the clock back: that delays the next request by one interval at most, and once.
func TestBalanceClock(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = time.Hour
	g := s.guard()
	startBalance(g)
	finishBalance(g, 1, "CNY", true)
	s.add(-24 * time.Hour)
	for range 2 {
		if startBalance(g) {
			t.Error("a balance is requested at once after the clock was set back")
		}
		s.add(30 * time.Minute)
	}
	if !startBalance(g) {
		t.Error("no balance is requested an interval after the clock was set back")
	}
}

// TestBalanceReload changes the interval.
func TestBalanceReload(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = time.Hour
	g := s.guard()
	startBalance(g)
	finishBalance(g, 1, "CNY", true)
	s.add(10 * time.Minute)
	limits := s.config.Limits
	for _, test := range []struct {
		interval time.Duration
		want     bool
	}{{0, false}, {11 * time.Minute, false}, {10 * time.Minute, true}} {
		limits.BalanceInterval = test.interval
		g.SetLimits(limits)
		if got := startBalance(g); got != test.want {
			t.Errorf("%v: got %v, want %v", test.interval, got, test.want)
		}
	}
}

// TestUndoBalance takes back a request for the balance that was not sent: it is due when it was before.
func TestUndoBalance(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = time.Hour
	g := s.guard()
	for _, step := range []struct {
		wait time.Duration
		want bool
	}{{0, true}, {0, true}, {time.Minute, true}} {
		s.add(step.wait)
		if got := startBalance(g); got != step.want {
			t.Errorf("after %v: got allowed %v, want %v", step.wait, got, step.want)
		}
		g.UndoBalance(number(g, 0))
		if !g.Account().BalanceRequested.IsZero() {
			t.Error("a request that was not sent counts as requested")
		}
	}
	startBalance(g)
	g.UndoBalance(number(g, 0) - 1) // of a request before
	if g = s.guard(); startBalance(g) {
		t.Error("the balance is requested again before its interval has elapsed")
	}
}
