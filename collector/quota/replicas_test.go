package quota_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// journal is a store that keeps the term of each change.
type journal struct {
	memory
	terms []int64
	wait  error // what waiting for a change returns
}

func (j *journal) Put(term int64, changes map[string][]byte) func(context.Context) error {
	if len(changes) > 0 {
		j.terms = append(j.terms, term)
	}
	j.memory.Put(term, changes)
	return func(context.Context) error { return j.wait }
}

// take returns the terms of the changes since the last call, each once.
func (j *journal) take() []int64 {
	terms := slices.Compact(j.terms)
	j.terms = nil
	return terms
}

// newReplica returns a guard for users with intervals of 15 minutes, a budget of 100 and a balance, and its store.
func newReplica(c *clock, term int64, wmids ...int64) (*quota.Guard, *journal) {
	j := &journal{memory: memory{}}
	return quota.New(quota.Config{
		Limits: quota.Limits{
			Users: every(15*time.Minute, wmids...), RetryInterval: time.Minute, DailyLimit: 100, Zone: time.UTC,
			BalanceInterval: time.Hour,
		},
		Now: func() time.Time { return c.now }, Store: j, Term: term,
	}), j
}

// followers returns the number of followers of each user.
func followers(g *quota.Guard) (counts []int64) {
	for _, user := range g.Users() {
		counts = append(counts, user.Value.Followers)
	}
	return counts
}

// TestLoad loads the records of another replica into a guard that has requests in flight: they are cut off, and what
// the guard knew is replaced.
func TestLoad(t *testing.T) {
	c := newClock()
	other, records := newReplica(c, 2, 1, 2, 3)
	start(other, 1)
	finish(other, 1, quota.Result{Followers: 11})
	start(other, 2)
	finish(other, 2, refused(quota.ReasonBalance))

	g, j := newReplica(c, 1, 1, 2, 3, 4)
	g.SetToken(func(salt []byte) []byte { return salt })
	for wmid := int64(1); wmid <= 4; wmid++ {
		start(g, wmid)
	}
	startBalance(g)
	finish(g, 3, quota.Result{Followers: 3})
	finish(g, 4, refused(quota.ReasonDailyQuota))
	if got := j.take(); !slices.Equal(got, []int64{1}) {
		t.Errorf("got changes under terms %v, want 1", got)
	}
	g.Load(records.memory, 3)
	if got := j.take(); !slices.Equal(got, []int64{3}) {
		t.Errorf("got changes under terms %v, want 3", got)
	}
	if got, want := followers(g), []int64{11, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v followers, want %v", got, want)
	}
	got := g.Account()
	if got.Used != 2 || got.InFlight != 0 || got.Pause.Reason != quota.ReasonBalance || !got.BalanceRequested.IsZero() {
		t.Errorf("got %+v, want that of the other replica", got)
	}
	if n := g.Interrupted(); n != 0 {
		t.Errorf("got %d interrupted requests, want none: the other replica left none in flight", n)
	}
	c.add(5 * time.Minute)
	if got := due(g, 0); got != "2" {
		t.Errorf("got %q due, want 2 for the probe", got)
	}
	g.Load(nil, 4)
	if got := g.Account(); got.Used != 0 || got.Pause.Reason != "" || due(g, 0) != "1 2 3 4" {
		t.Errorf("got %+v and %q due, want nothing known without records", got, due(g, 0))
	}
}

// TestTokenOnStandby changes the token on standby during a pause: the pause stays until the replica becomes active.
func TestTokenOnStandby(t *testing.T) {
	c := newClock()
	active, records := newReplica(c, 1, 1)
	active.SetToken(func([]byte) []byte { return []byte("old") })
	start(active, 1)
	finish(active, 1, refused(quota.ReasonToken))
	g, _ := newReplica(c, 0, 1)
	for term := range int64(2) {
		g.Load(records.memory, term)
		lifted := g.SetToken(func([]byte) []byte { return []byte("new") })
		if want := term > 0; lifted != want || g.Paused() == want {
			t.Errorf("term %d: got lifted = %t and paused = %t, want %t and %t", term, lifted, g.Paused(), want, !want)
		}
	}
}

// TestCutOff ends requests that loading records has cut off, while others for the same users are in flight: the old
// ones change nothing.
func TestCutOff(t *testing.T) {
	c := newClock()
	g, j := newReplica(c, 1, 1, 2)
	start(g, 1)
	start(g, 2)
	startBalance(g)
	first, second, balance := number(g, 1), number(g, 2), number(g, 0)
	g.Load(nil, 2)
	for _, again := range []bool{false, true} {
		if again && (!start(g, 1) || !start(g, 2) || !startBalance(g)) {
			t.Fatal("no request is allowed after the records were loaded")
		}
		want, before := g.Account(), g.Users()
		j.take()
		if _, _, ok := g.Finish(1, first, quota.Result{Followers: 7}); ok {
			t.Error("a request that was cut off has finished")
		}
		g.Undo(2, second)
		g.FinishBalance(balance, 5, "CNY", true)(t.Context()) //nolint:errcheck // the store cannot fail
		if got := g.Account(); got.Used != want.Used || got.InFlight != want.InFlight || got.Balance != want.Balance {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := g.Users(); !slices.Equal(got, before) {
			t.Errorf("got %+v, want %+v", got, before)
		}
		if got := j.take(); got != nil {
			t.Errorf("got changes under terms %v, want none", got)
		}
	}
	finish(g, 1, quota.Result{Followers: 8})
	undo(g, 2)
	finishBalance(g, 6, "CNY", true)
	if got := g.Account(); got.Used != 1 || got.InFlight != 0 || got.Balance.Amount != 6 {
		t.Errorf("got %+v, want the new requests to have ended", got)
	}
}

// TestStandby does everything with a guard on standby that an exporter does: no request is allowed and nothing is
// stored, skipped users do not count, and the values are known.
func TestStandby(t *testing.T) {
	c := newClock()
	active, records := newReplica(c, 1, 1, 2, 3)
	active.SetToken(func([]byte) []byte { return []byte("old") })
	start(active, 1)
	finish(active, 1, quota.Result{Followers: 11})
	start(active, 2)
	finish(active, 2, quota.Result{Verdict: quota.VerdictBackOff, Code: "-404"})
	start(active, 3)
	active.SetLimits(quota.Limits{ // removes user 3
		Users: every(15*time.Minute, 1, 2), RetryInterval: time.Minute, DailyLimit: 100, Zone: time.UTC,
	})

	g, j := newReplica(c, 0, 1, 2)
	for range 2 {
		g.Load(maps.Clone(records.memory), 0)
		for _, jump := range []time.Duration{0, 20 * time.Minute, 24 * time.Hour, -12 * time.Hour, 62 * 24 * time.Hour} {
			c.add(jump)
			if g.Active() || g.Due(4, 1) != nil || g.Allows(1) || start(g, 1) || startBalance(g) {
				t.Errorf("after %v: a request is allowed on standby", jump)
			}
			if g.SetToken(func([]byte) []byte { return []byte("new") }) {
				t.Error("a token lifts a pause on standby")
			}
			g.SetLimits(quota.Limits{Users: every(time.Minute, 1), RetryInterval: time.Minute, Zone: time.UTC})
			g.SetLimits(quota.Limits{
				Users: every(time.Minute, 1, 2, 9), RetryInterval: time.Minute, Zone: time.UTC, BalanceInterval: time.Hour,
			})
			g.Flush(t.Context())
			if got := followers(g); !slices.Equal(got, []int64{11, 0, 0}) {
				t.Errorf("got %v followers, want those that the active replica knows", got)
			}
		}
		for reason, count := range g.Account().Suppressed {
			if count != 0 {
				t.Errorf("got %d suppressed because of %s, want none on standby", count, reason)
			}
		}
	}
	if got := j.take(); got != nil || len(j.memory) > 0 || g.Interrupted() != 0 {
		t.Errorf("got changes under terms %v and %d interrupted requests, want none on standby", got, g.Interrupted())
	}
	g.Load(records.memory, 2)
	if !g.Active() || g.Interrupted() != 1 || !g.Allows(1) {
		t.Errorf("got active = %t and %d interrupted requests, want an active replica and 1", g.Active(), g.Interrupted())
	}
	active.Load(records.memory, 0)
	if active.Active() {
		t.Error("the former active replica is still active")
	}
}

// TestTakeover takes over from a replica that may have sent a request up to 10 s after its record: the whole interval
// elapses after that. A third replica knows that the request was cut off.
func TestTakeover(t *testing.T) {
	c := newClock()
	former, records := newReplica(c, 1, 1)
	start(former, 1)
	g, taken := newReplica(c, 0, 1)
	c.add(150 * time.Second)
	g.Load(records.memory, 2)
	if n := g.Interrupted(); n != 1 {
		t.Errorf("got %d interrupted requests, want 1", n)
	}
	third, _ := newReplica(c, 0, 1)
	third.Load(taken.memory, 3)
	if n := third.Interrupted(); n != 0 || !third.Users()[0].Due.Equal(g.Users()[0].Due) {
		t.Errorf("got %d interrupted requests and %+v, want what is recorded to be stored", n, third.Users()[0])
	}
	c.add(15*time.Minute + quota.MaxSendDelay - 150*time.Second - 1)
	if start(g, 1) {
		t.Error("a request is allowed before the interval has elapsed since the former one can have been sent")
	}
	c.add(1)
	if !start(g, 1) {
		t.Error("no request is allowed after the interval")
	}
	g.Load(maps.Clone(records.memory), 3)
	if n := g.Interrupted(); n != 1 {
		t.Errorf("got %d interrupted requests, want 1 each time that the records say so", n)
	}
}

// TestStartedIsDurable expects what waits for a start to return the store's error.
func TestStartedIsDurable(t *testing.T) {
	g, j := newReplica(newClock(), 1, 1)
	j.wait = errors.New("disk on fire")
	_, wait, _ := g.Start(1)
	_, waitBalance, _ := g.StartBalance()
	for _, wait := range []func(context.Context) error{wait, waitBalance} {
		if err := wait(t.Context()); !errors.Is(err, j.wait) {
			t.Errorf("got %v, want %v", err, j.wait)
		}
	}
}

// TestSentLate sends a request some time after its start: the interval counts from then. A refusal of the account does
// not use it up, and restores what was known before.
func TestSentLate(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1)...)
	g := s.guard()
	expect := func(when string, want time.Duration) {
		t.Helper()
		for _, g := range []*quota.Guard{g, s.guard()} {
			if got := g.Users()[0].Due.Sub(s.now); got != want {
				t.Errorf("%s: got the next request in %v, want %v", when, got, want)
			}
		}
	}
	start(g, 1)
	s.add(8 * time.Second)
	sent := s.now
	s.add(2 * time.Second)
	finish(g, 1, quota.Result{Sent: sent})
	expect("sent 8s late", 15*time.Minute-2*time.Second)

	s.add(15*time.Minute - 2*time.Second)
	start(g, 1)
	undo(g, 1)
	expect("undone", 0)
	start(g, 1)
	s.add(9 * time.Second)
	finish(g, 1, quota.Result{Verdict: quota.VerdictRefused, Reason: quota.ReasonRateLimit, Sent: s.now})
	expect("refused", -9*time.Second)

	s.add(time.Hour)
	start(g, 1)
	finish(g, 1, quota.Result{Sent: s.now.Add(-time.Minute)}) // the clock was set back
	expect("sent before its start", 15*time.Minute)
}

// TestTurns records requests together and sends them in another order: the users keep their turns, also when a commit
// fails, and in the meantime no more than the given number of users that are not yet due is returned.
func TestTurns(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1, 2, 3, 4)...)
	g := s.guard()
	var base time.Time
	for _, wmid := range []int64{3, 1, 4, 2} {
		s.add(time.Microsecond)
		base = s.now
		start(g, wmid)
	}
	for wmid, delay := range map[int64]time.Duration{3: 900 * time.Millisecond, 1: 0, 4: 300 * time.Millisecond, 2: 0} {
		finish(g, wmid, quota.Result{Sent: base.Add(delay)})
	}
	expect := func(ahead int, want string) {
		t.Helper()
		for _, g := range []*quota.Guard{g, s.guard()} {
			if got := due(g, ahead); got != want {
				t.Errorf("%v after the start, %d ahead: got %q, want %q", s.now.Sub(base), ahead, got, want)
			}
		}
	}
	s.now = base.Add(15*time.Minute + 100*time.Millisecond)
	expect(4, "3 1 4 2")
	expect(1, "3 1 2")
	expect(0, "1 2")
	s.add(time.Second)
	expect(0, "3 1 4 2")
	for _, wmid := range []int64{4, 3} {
		start(g, wmid)
		undo(g, wmid)
	}
	expect(0, "3 1 4 2")
}
