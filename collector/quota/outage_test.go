package quota_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// upstream returns the result of a request that failed upstream and may have been billed.
func upstream() quota.Result {
	return quota.Result{Verdict: quota.VerdictWait, Code: "-503", Bilibili: true}
}

func (s *setup) expectPause(t *testing.T, g *quota.Guard, want quota.Reason) {
	t.Helper()
	if got := g.Account().Pause.Reason; got != want {
		t.Errorf("at %v: got a pause for %q, want %q", s.now, got, want)
	}
}

// TestOutage pauses requests after five failures in a row, of any users, and probes until one succeeds.
func TestOutage(t *testing.T) {
	const minute = time.Minute
	for _, restart := range []bool{false, true} {
		s := newSetup(0, every(15*minute, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)...)
		g := s.guard()
		step := func() {
			if restart {
				g = s.guard()
			}
		}
		for _, result := range []quota.Result{
			{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true},
			{Verdict: quota.VerdictWait, Code: "timeout", TimedOut: true, NoResponse: true},
			upstream(),
			{Verdict: quota.VerdictWait, Code: "malformed"},
			{Verdict: quota.VerdictWait, Code: "http_502", NoResponse: true},
		} {
			s.expectPause(t, g, "")
			if !request(g, result) {
				t.Fatal("no request is allowed")
			}
			step()
		}
		s.expectPause(t, g, quota.ReasonOutage)
		for _, want := range []time.Duration{minute, 2 * minute, 4 * minute, 8 * minute, 10 * minute, 10 * minute} {
			s.toProbe(t, g, want)
			if got := len(g.Due(4, 1)); got != 1 {
				t.Fatalf("restart %v: got %d users to probe, want 1", restart, got)
			}
			request(g, upstream())
			step()
		}
		s.now = g.Account().Pause.Resume
		request(g, quota.Result{})
		s.expectPause(t, g, "")
		if got := len(g.Due(15, 1)); got < 10 {
			t.Errorf("restart %v: got %d users due after the outage, want everyone due", restart, got)
		}
	}
}

// TestOutageStreak resets the count of failures by everything that is not a failure upstream.
func TestOutageStreak(t *testing.T) {
	for name, other := range map[string]quota.Result{
		"a value":              {},
		"the user's own error": {Verdict: quota.VerdictBackOff, Code: "-404", Bilibili: true},
	} {
		s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)...)
		g := s.guard()
		for i := range 10 {
			if i == 4 {
				request(g, other)
			} else {
				request(g, upstream())
			}
			want := quota.Reason("")
			if i == 9 {
				want = quota.ReasonOutage
			}
			if got := g.Account().Pause.Reason; got != want {
				t.Errorf("%s: after request %d: got a pause for %q, want %q", name, i, got, want)
			}
		}
	}
}

// TestOutageLift ends the pause by a value, or by a user's own error, of any request.
func TestOutageLift(t *testing.T) {
	for name, test := range map[string]struct {
		result quota.Result
		want   quota.Reason
	}{
		"a value":                 {quota.Result{}, ""},
		"the user's own error":    {quota.Result{Verdict: quota.VerdictBackOff, Code: "22115"}, ""},
		"a failure upstream":      {upstream(), quota.ReasonOutage},
		"a refusal, later":        {refused(quota.ReasonToken), quota.ReasonToken},
		"a refusal for a moment":  {refused(quota.ReasonRateLimit), quota.ReasonOutage},
		"no response":             {quota.Result{Verdict: quota.VerdictWait, NoResponse: true}, quota.ReasonOutage},
		"a failure of connection": {quota.Result{Verdict: quota.VerdictRetry, NoResponse: true}, quota.ReasonOutage},
	} {
		s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7)...)
		g := s.guard()
		start(g, 6) // in flight when the pause starts
		for wmid := range int64(5) {
			start(g, wmid+1)
			finish(g, wmid+1, upstream())
		}
		before := g.Account().Pause.Resume
		finish(g, 6, test.result)
		after := g.Account().Pause
		if after.Reason != test.want || after.Reason == quota.ReasonOutage && !after.Resume.Equal(before) {
			t.Errorf("%s: got %+v, want a pause for %q", name, after, test.want)
		}
	}
}

// TestOutageDuringAccountPause: a probe that fails upstream lifts the account's pause if the API responded, and the
// failures in a row start a pause for the outage.
func TestOutageDuringAccountPause(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7)...)
	g := s.guard()
	for range 4 {
		request(g, upstream())
	}
	request(g, refused(quota.ReasonToken)) // which starts the count again
	for range 4 {
		s.add(time.Hour)
		request(g, upstream())
		s.expectPause(t, g, "")
	}
	request(g, upstream())
	s.expectPause(t, g, quota.ReasonOutage)
}

// TestOutageTokenChange lifts the pause, and the next failure starts it again.
func TestOutageTokenChange(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7)...)
	g := s.guard()
	token := "old"
	set := func() bool { return g.SetToken(func([]byte) []byte { return []byte(token) }) }
	set()
	for range 5 {
		request(g, upstream())
	}
	token = "new"
	if !set() {
		t.Error("a new token did not lift the pause")
	}
	request(g, upstream())
	s.expectPause(t, g, quota.ReasonOutage)
	if got := g.Account().Pause.Resume.Sub(s.now); got != time.Minute {
		t.Errorf("the next probe is in %v, want 1m", got)
	}
}

// TestRetryAfter makes pauses longer, never shorter.
func TestRetryAfter(t *testing.T) {
	const second, minute = time.Second, time.Minute
	after := func(result quota.Result, d time.Duration) quota.Result {
		result.RetryAfter = d
		return result
	}
	limited := refused(quota.ReasonRateLimit)
	for name, test := range map[string]struct {
		results []quota.Result
		want    []time.Duration
		reason  quota.Reason
	}{
		"rate limit": {
			[]quota.Result{after(limited, 2*minute)},
			[]time.Duration{2 * minute}, quota.ReasonRateLimit,
		},
		"shorter than the pause": {
			[]quota.Result{after(limited, 5*second)},
			[]time.Duration{30 * second}, quota.ReasonRateLimit,
		},
		"longer than the longest": {
			[]quota.Result{after(limited, time.Hour), limited},
			[]time.Duration{time.Hour, 10 * minute}, quota.ReasonRateLimit,
		},
		"503 announces an outage": {
			[]quota.Result{after(upstream(), 3*minute), upstream()},
			[]time.Duration{3 * minute, 6 * minute}, quota.ReasonOutage,
		},
		"503 with a short moment": {
			[]quota.Result{after(upstream(), 5*second)},
			[]time.Duration{5 * second}, quota.ReasonOutage,
		},
		"a probe that is extended": {
			[]quota.Result{limited, after(limited, 90*second)},
			[]time.Duration{30 * second, 90 * second}, quota.ReasonRateLimit,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
			g := s.guard()
			for i, result := range test.results {
				if !request(g, result) {
					t.Fatal("no request is allowed")
				}
				s.expectPause(t, g, test.reason)
				g = s.guard()
				s.toProbe(t, g, test.want[i])
			}
		})
	}
}

// TestPauseProperties draws results and times, restarts included, and compares with a model that gets the results
// only: after five failures in a row no request starts for a minute; a pause never lasts longer than an hour; and
// outside pauses everyone due may start.
func TestPauseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSetup(0, every(time.Minute, 1, 2, 3, 4, 5, 6, 7, 8)...)
		s.at("2026-11-23 00:01")
		g := s.guard()
		failures, blocked := 0, time.Time{}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			s.add(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				g = s.guard()
			}
			result := rapid.SampledFrom([]quota.Result{
				{}, upstream(), upstream(), upstream(),
				{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true},
				{Verdict: quota.VerdictWait, Code: "timeout", TimedOut: true, NoResponse: true},
				{Verdict: quota.VerdictBackOff, Code: "-404"}, refused(quota.ReasonRateLimit),
			}).Draw(t, "result")
			started := request(g, result)
			if started && s.now.Before(blocked) {
				t.Fatalf("a request started at %v, before %v", s.now, blocked)
			}
			pause := g.Account().Pause
			switch {
			case !started:
				if pause.Reason == "" && len(g.Due(0, 1)) > 0 {
					t.Fatal("a user is due, but no request may start")
				}
				continue
			case result.Verdict == quota.VerdictRetry, result.Verdict == quota.VerdictWait:
				failures++
			default:
				failures = 0
			}
			if failures >= 5 {
				blocked = s.now.Add(time.Minute)
				if pause.Reason != quota.ReasonOutage {
					t.Fatalf("after %d failures: got %+v", failures, pause)
				}
			}
			if pause.Resume.Sub(s.now) > time.Hour {
				t.Fatalf("got a pause of %v", pause.Resume.Sub(s.now))
			}
		}
	})
}

// TestRetryAfterInFlight has several requests in flight whose responses ask for different times: the longest counts.
// Otherwise they are one pause with its usual lengths.
func TestRetryAfterInFlight(t *testing.T) {
	const second, minute = time.Second, time.Minute
	for name, result := range map[quota.Reason]quota.Result{
		quota.ReasonRateLimit: refused(quota.ReasonRateLimit), quota.ReasonOutage: upstream(),
	} {
		after := func(d time.Duration) quota.Result {
			result := result
			result.RetryAfter = d
			return result
		}
		begin := func() (*setup, *quota.Guard) {
			s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7, 8)...)
			g := s.guard()
			for wmid := range int64(5) {
				start(g, wmid+1)
			}
			finish(g, 1, after(2*minute))
			return s, g
		}
		expect := func(s *setup, g *quota.Guard, when string, want time.Duration) {
			t.Helper()
			got := g.Account().Pause
			if wait := got.Resume.Sub(s.now); got.Reason != name || wait != want {
				t.Errorf("%s, %s: got a pause for %q, %v; want %v", name, when, got.Reason, wait, want)
			}
		}

		s, g := begin()
		s.add(minute)
		finish(g, 2, after(10*second))
		expect(s, g, "a shorter time", minute)
		finish(g, 3, result)
		expect(s, g, "no time", minute)
		finish(g, 4, quota.Result{})
		expect(s, g, "a value", minute)
		finish(g, 5, after(5*minute))
		expect(s, g, "a longer time", 5*minute)
		g = s.guard()
		s.toProbe(t, g, 5*minute)
		request(g, result)
		s.toProbe(t, g, 10*minute) // doubled, as any other pause
		request(g, quota.Result{})
		s.expectPause(t, g, "")

		// A pause that a probe has lifted starts again, for as long as a request from before it asks for.
		s, g = begin()
		s.toProbe(t, g, 2*minute)
		request(g, quota.Result{})
		finish(g, 2, result)
		s.expectPause(t, g, "")
		finish(g, 3, after(10*second))
		expect(s, g, "after the pause", 10*second)
		s.toProbe(t, g, 10*second)
		request(g, result)
		first := minute
		if name == quota.ReasonRateLimit {
			first = 30 * second
		}
		s.toProbe(t, g, 2*first)

		// A shorter one does not shorten the length.
		s, g = begin()
		s.add(115 * second)
		finish(g, 2, after(10*second))
		expect(s, g, "a little longer", 10*second)
		s.toProbe(t, g, 10*second)
		request(g, result)
		s.toProbe(t, g, 4*minute)
	}
}

// TestRetryAfterAndValue lets a value in flight lift an outage pause, but not before the time that a response asks for.
func TestRetryAfterAndValue(t *testing.T) {
	for _, asked := range []time.Duration{0, time.Second, 5 * time.Minute} {
		for _, restart := range []bool{false, true} {
			s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7, 8)...)
			g := s.guard()
			for wmid := range int64(7) {
				start(g, wmid+1)
			}
			for wmid := range int64(6) {
				result := upstream()
				if wmid == 5 {
					result.RetryAfter = asked
				}
				finish(g, wmid+1, result)
			}
			s.expectPause(t, g, quota.ReasonOutage)
			if restart {
				g = s.guard()
			} else {
				finish(g, 7, quota.Result{})
			}
			want := quota.ReasonOutage
			if asked == 0 && !restart {
				want = ""
			}
			s.expectPause(t, g, want)
			if asked == 5*time.Minute {
				s.toProbe(t, g, asked)
			}
		}
	}
	s := newSetup(0, every(time.Hour, 1, 2)...)
	g := s.guard()
	start(g, 2)
	request(g, quota.Result{Verdict: quota.VerdictWait, RetryAfter: 5 * time.Minute})
	finish(g, 2, quota.Result{})
	s.toProbe(t, g, 5*time.Minute)
}

// TestProbeAvoidsFailingUsers has users that fail alone, and are always the most overdue because they are retried
// early: they must not keep the others waiting.
func TestProbeAvoidsFailingUsers(t *testing.T) {
	s := newSetup(0, every(15*time.Minute, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)...)
	g := s.guard()
	longest, last := make(map[int64]time.Duration), make(map[int64]time.Time)
	for range 24 * 60 {
		for users := g.Due(0, 1); len(users) > 0; users = users[1:] {
			wmid := users[0].WMID
			if !start(g, wmid) {
				continue
			}
			if wmid <= 6 {
				finish(g, wmid, quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true})
				continue
			}
			finish(g, wmid, quota.Result{})
			if !last[wmid].IsZero() {
				longest[wmid] = max(longest[wmid], s.now.Sub(last[wmid]))
			}
			last[wmid] = s.now
		}
		s.add(time.Minute)
	}
	for wmid, gap := range longest {
		if gap > 25*time.Minute {
			t.Errorf("user %d had no value for %v", wmid, gap)
		}
	}
	if len(longest) != 6 {
		t.Errorf("got values of %d users, want 6", len(longest))
	}
}

// TestProbePrefersFewerFailures lets the user probe that has failed less often, although another is due earlier.
func TestProbePrefersFewerFailures(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2)...)
	g := s.guard()
	for _, wmid := range []int64{1, 1, 1, 1, 2} {
		s.add(time.Hour)
		if !start(g, wmid) {
			t.Fatalf("user %d is not due", wmid)
		}
		finish(g, wmid, quota.Result{Verdict: quota.VerdictRetry, Code: "301", Unbilled: true})
	}
	s.add(time.Hour)
	if users := g.Due(0, 1); len(users) != 1 || users[0].WMID != 2 || users[0].Failures != 1 {
		t.Errorf("got %+v, want user 2, which failed once", users)
	}
}

// hangingUsers returns a guard that has paused because the users 1 to 5, every 5 minutes, have timed out. User 6 has a
// value. All were requested at the same time.
func hangingUsers(interval time.Duration) (s *setup, g *quota.Guard) {
	s = newSetup(0, append(every(5*time.Minute, 1, 2, 3, 4, 5), every(interval, 6)...)...)
	g = s.guard()
	start(g, 6)
	finish(g, 6, quota.Result{})
	for range 5 {
		request(g, hang())
	}
	return s, g
}

// hang returns the result of a request that timed out.
func hang() quota.Result {
	return quota.Result{Verdict: quota.VerdictWait, Code: "timeout", TimedOut: true, NoResponse: true}
}

// TestProbeAwaitsUser has users that time out on their own. They probe, except when a user with a value is due before
// the next probe: it would wait for longer if theirs failed.
func TestProbeAwaitsUser(t *testing.T) {
	for interval, want := range map[time.Duration][]string{ // of the user with a value; starts of probes
		15 * time.Minute:  {"5m0s", "7m0s", "15m0s with a value"}, // and not 11 and 19 minutes
		7 * time.Minute:   {"5m0s", "7m0s with a value"},          // which the probe before did not delay
		390 * time.Second: {"6m30s with a value"},                 // and not 5 and 7 minutes
		time.Hour:         {"5m0s", "7m0s", "11m0s", "19m0s", "29m0s", "39m0s", "49m0s", "1h0m0s with a value"},
		59 * time.Minute:  {"5m0s", "7m0s", "11m0s", "19m0s", "29m0s", "39m0s", "49m0s", "59m0s with a value"},
	} {
		s, g := hangingUsers(interval)
		s.expectPause(t, g, quota.ReasonOutage)
		begin := s.now
		var got []string
		for g.Paused() && s.now.Sub(begin) < 2*time.Hour {
			for _, user := range g.Due(1, 1) {
				if user.At.After(s.now) {
					s.now = user.At
				}
				probe, result := s.now.Sub(begin).String(), hang()
				if user.WMID == 6 {
					probe, result = probe+" with a value", quota.Result{}
				}
				got = append(got, probe)
				start(g, user.WMID)
				finish(g, user.WMID, result)
			}
			s.add(time.Second)
		}
		if !slices.Equal(got, want) {
			t.Errorf("an interval of %v: got probes after %q, want %q", interval, got, want)
		}
	}
}

// TestProbeLooksAhead returns a user with a value a moment before it is due, and not one that is due and has failed.
func TestProbeLooksAhead(t *testing.T) {
	s, g := hangingUsers(15 * time.Minute)
	s.add(15*time.Minute - time.Second)
	if users := g.Due(1, 1); len(users) != 1 || users[0].WMID != 6 {
		t.Errorf("got %+v, want user 6", users)
	}
}

// TestAccountProbeAwaitsNobody lets a user that has failed probe an account's pause: most of its failures would end it.
func TestAccountProbeAwaitsNobody(t *testing.T) {
	s, g := hangingUsers(14 * time.Minute)
	s.add(14 * time.Minute)
	request(g, quota.Result{}) // of user 6, which lifts the pause
	request(g, refused(quota.ReasonToken))
	s.add(5 * time.Minute)
	if users := g.Due(0, 1); len(users) != 1 || users[0].Failures == 0 {
		t.Errorf("got %+v, want a user that has failed", users)
	}
}

// TestBalanceOfAnotherAccount forgets how fast the former account was spent.
func TestBalanceOfAnotherAccount(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1)...)
	s.config.BalanceInterval = time.Hour
	g := s.guard()
	for i, token := range []string{"old", "old", "old", "new"} {
		g.SetToken(func([]byte) []byte { return []byte(token) })
		startBalance(g)
		finishBalance(g, 1000-float64(i), "CNY", true)
		s.add(time.Hour)
		if got := g.Account().SpentPerDay; (got == 0) != (i == 0 || token == "new") {
			t.Errorf("after balance %d: got %v spent per day", i, got)
		}
	}
}
