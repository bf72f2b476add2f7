package quota_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// refused returns a refusal of the account.
func refused(reason quota.Reason) quota.Result {
	return quota.Result{Verdict: quota.VerdictRefused, Reason: reason, Code: string(reason)}
}

// toProbe sets the clock to the pause's next probe, and checks that no request is allowed before.
func (s *setup) toProbe(t *testing.T, g *quota.Guard, want time.Duration) {
	t.Helper()
	resume := g.Account().Pause.Resume
	if got := resume.Sub(s.now); got != want {
		t.Errorf("the next probe is in %v, want %v", got, want)
	}
	s.now = resume.Add(-time.Second - time.Nanosecond)
	if len(g.Due(4, 1)) > 0 {
		t.Errorf("a user is due before %v", resume)
	}
	s.now = resume.Add(-time.Nanosecond)
	for wmid := range int64(8) {
		if g.Allows(wmid) || start(g, wmid) {
			t.Errorf("a request is allowed before %v", resume)
		}
	}
	s.now = resume
}

// TestPausedSince checks that a pause keeps the time of its start while probes fail, also across a restart.
func TestPausedSince(t *testing.T) {
	s := newSetup(0, every(time.Minute, 1, 2, 3)...)
	begin := s.now
	g := s.guard()
	for i, test := range []struct {
		result quota.Result
		since  time.Duration // since the beginning; negative without a pause
	}{
		{refused(quota.ReasonToken), 0},
		{refused(quota.ReasonToken), 0},
		{refused(quota.ReasonBalance), 2 * time.Hour},
		{quota.Result{}, -1},
		{quota.Result{Verdict: quota.VerdictWait, Code: "503", RetryAfter: time.Minute}, 4 * time.Hour},
	} {
		s.now = begin.Add(time.Duration(i) * time.Hour)
		if !request(g, test.result) {
			t.Fatalf("%d: no request is allowed", i)
		}
		want := time.Time{}
		if test.since >= 0 {
			want = begin.Add(test.since)
		}
		if got := s.guard().Account().Pause.Since; !got.Equal(want) {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
	}
}

// TestZone checks that times for people are in the zone of the quota day.
func TestZone(t *testing.T) {
	s := newSetup(10, every(time.Minute, 1)...)
	s.config.Zone = time.FixedZone("Asia/Shanghai", 8*60*60)
	g := s.guard()
	start(g, 1)
	change := finish(g, 1, refused(quota.ReasonToken))
	a := s.guard().Account() // as restored
	for name, got := range map[string]time.Time{
		"next": change.Next, "resume": change.PauseAfter.Resume, "since": a.Pause.Since, "reset": a.Reset,
	} {
		if got.Location() != s.config.Zone {
			t.Errorf("%s is %v, want it in %v", name, got, s.config.Zone)
		}
	}
}

func TestPauseLengths(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	for reason, want := range map[quota.Reason][]time.Duration{
		quota.ReasonRateLimit:  {minute / 2, minute, 2 * minute, 4 * minute, 8 * minute, 10 * minute, 10 * minute},
		quota.ReasonToken:      {5 * minute, 10 * minute, 20 * minute, 40 * minute, hour, hour},
		quota.ReasonPermission: {5 * minute, 10 * minute},
		quota.ReasonBalance:    {5 * minute, 10 * minute},
		quota.ReasonTokenLimit: {5 * minute, 10 * minute},
		// From 12:00: every hour, at midnight, and every hour again.
		quota.ReasonDailyQuota: {hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(reason, " restart ", restart), func(t *testing.T) {
				s := newSetup(0, every(minute, 1, 2, 3)...)
				s.at("2026-11-23 12:00")
				g := s.guard()
				for _, want := range want {
					if !request(g, refused(reason)) {
						t.Fatal("no request is allowed")
					}
					if got := g.Account().Pause.Reason; got != reason {
						t.Errorf("got a pause for %q, want %q", got, reason)
					}
					if restart {
						g = s.guard()
					}
					s.toProbe(t, g, want)
				}
				if !request(g, quota.Result{}) || g.Account().Pause != (quota.Pause{}) {
					t.Errorf("a success does not lift the pause: %+v", g.Account())
				}
				s.add(minute)
				request(g, refused(reason))
				s.toProbe(t, g, want[0]) // the first length again
			})
		}
	}
}

// TestDailyQuotaPauseEnds: a pause for the daily quota is probed at the end of the quota day if that is within an hour.
func TestDailyQuotaPauseEnds(t *testing.T) {
	s := newSetup(0, every(time.Minute, 1, 2, 3)...)
	s.at("2026-11-23 23:20")
	g := s.guard()
	request(g, refused(quota.ReasonDailyQuota))
	s.toProbe(t, g, 40*time.Minute)
	request(g, refused(quota.ReasonRateLimit)) // on the new day, the quota is no longer the reason
	if got := g.Account().Pause.Reason; got != quota.ReasonRateLimit {
		t.Errorf("got a pause for %q, want rate_limit", got)
	}
	s.toProbe(t, g, 30*time.Second)
}

// TestRefusedUserIsDueAgain: a refusal of the account does not use up the user's interval. The user is due when the
// pause ends.
func TestRefusedUserIsDueAgain(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2)...)
	g := s.guard()
	request(g, quota.Result{})
	request(g, quota.Result{Verdict: quota.VerdictBackOff})
	before := g.Users()
	s.add(2 * time.Hour)
	request(g, refused(quota.ReasonToken))
	if got := due(g, 4); got != "" {
		t.Errorf("during the pause: got %s due, want none", got)
	}
	s.add(5 * time.Minute)
	if got := due(g, 4); got != "1" {
		t.Errorf("at its end: got %q due, want the refused user, 1", got)
	}
	after := g.Users()
	if after[0].Due != before[0].Due || after[1].Interval != before[1].Interval || after[0].Last.Code != "token" {
		t.Errorf("got %+v\nafter %+v", after, before)
	}
	if used := g.Account().Used; used != 3 {
		t.Errorf("got %d used, want 3: a refused request counts", used)
	}
}

// TestRefusalsInFlight: refusals of requests that were in flight at the same time cause one pause.
func TestRefusalsInFlight(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4, 5, 6, 7)...)
	g := s.guard()
	for wmid := range int64(4) {
		start(g, wmid+1)
	}
	finish(g, 1, refused(quota.ReasonRateLimit))
	s.add(time.Second)
	finish(g, 2, refused(quota.ReasonRateLimit))
	s.add(time.Second)
	finish(g, 3, quota.Result{}) // in flight before the pause: does not lift it
	if got := g.Account().Pause.Resume.Sub(s.now); got != 28*time.Second {
		t.Errorf("the next probe is in %v, want 28s", got)
	}
	s.add(28 * time.Second)
	request(g, quota.Result{})
	finish(g, 4, refused(quota.ReasonRateLimit)) // started before the pause, finished after it
	if got := g.Account().Pause; got != (quota.Pause{}) {
		t.Errorf("an old refusal pauses again: %+v", got)
	}
	request(g, refused(quota.ReasonRateLimit))
	if got := g.Account().Pause.Resume.Sub(s.now); got != 30*time.Second {
		t.Errorf("the next pause lasts %v, want 30s", got)
	}
}

// TestLongerPauseWins has two requests in flight that cause different pauses: the one that ends later wins.
func TestLongerPauseWins(t *testing.T) {
	for _, test := range []struct {
		first, second, want quota.Reason
	}{
		{quota.ReasonRateLimit, quota.ReasonToken, quota.ReasonToken},
		{quota.ReasonToken, quota.ReasonRateLimit, quota.ReasonToken},
		{quota.ReasonToken, quota.ReasonDailyQuota, quota.ReasonDailyQuota},
		{quota.ReasonDailyQuota, quota.ReasonToken, quota.ReasonDailyQuota},
	} {
		s := newSetup(0, every(time.Hour, 1, 2, 3)...)
		g := s.guard()
		start(g, 1)
		start(g, 2)
		finish(g, 1, refused(test.first))
		finish(g, 2, refused(test.second))
		if got := g.Account().Pause.Reason; got != test.want {
			t.Errorf("%s, then %s: got %s, want %s", test.first, test.second, got, test.want)
		}
	}
}

// TestOneProbe expects one probe at a time, of a user whose requests do not time out, and then of another user.
func TestOneProbe(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
	g := s.guard()
	request(g, quota.Result{Verdict: quota.VerdictWait, TimedOut: true, NoResponse: true}) // 1 times out
	request(g, refused(quota.ReasonToken))                                                 // 2 is refused
	s.add(2 * time.Hour)
	if got := due(g, 4); got != "2" {
		t.Fatalf("got %q due, want 2: one user, and not the one that times out", got)
	}
	if start(g, 2); start(g, 3) || g.Allows(3) || due(g, 4) != "" {
		t.Error("two probes at a time are allowed")
	}
	s.add(time.Minute)
	finish(g, 2, quota.Result{Verdict: quota.VerdictWait, TimedOut: true, NoResponse: true})
	s.toProbe(t, g, 5*time.Minute) // as long as before
	if got := due(g, 4); got != "3" {
		t.Errorf("got %q due, want 3: another user", got)
	}
	if suppressed := g.Account().Suppressed[quota.SuppressedPaused]; suppressed == 0 {
		t.Error("no user was counted as suppressed")
	}
}

// TestProbeAvoidsTimeouts: a user whose last request timed out is no probe, even if it was refused since.
func TestProbeAvoidsTimeouts(t *testing.T) {
	for _, restart := range []bool{false, true} {
		s := newSetup(0, every(time.Hour, 1, 2)...)
		g := s.guard()
		request(g, quota.Result{Verdict: quota.VerdictWait, TimedOut: true, NoResponse: true}) // 1
		s.add(time.Minute)
		request(g, quota.Result{}) // 2
		s.add(2 * time.Hour)
		request(g, refused(quota.ReasonToken)) // 1 again
		if restart {
			g = s.guard()
		}
		s.add(5 * time.Minute)
		if got := due(g, 4); got != "2" {
			t.Errorf("restart %v: got %q due, want 2: 1 is more overdue, but times out", restart, got)
		}
	}
}

// TestInterruptedProbe kills the process during a probe: the next probe is another user, and not allowed at once.
func TestInterruptedProbe(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2)...)
	g := s.guard()
	request(g, refused(quota.ReasonToken))
	s.add(5 * time.Minute)
	start(g, 1)
	g = s.guard()
	s.toProbe(t, g, 5*time.Minute)
	if got := due(g, 4); got != "2" {
		t.Errorf("got %q due, want 2", got)
	}
}

func TestTokenLiftsPause(t *testing.T) {
	fingerprint := func(token string) func([]byte) []byte {
		return func(salt []byte) []byte { return append([]byte(token), salt...) }
	}
	for _, restart := range []bool{false, true} {
		s := newSetup(0, every(time.Hour, 1, 2, 3)...)
		g := s.guard()
		g.SetToken(fingerprint("old"))
		start(g, 3)
		request(g, refused(quota.ReasonDailyQuota))
		if restart {
			g = s.guard()
		}
		if g.SetToken(fingerprint("old")) || g.Account().Pause.Reason == "" {
			t.Errorf("restart %v: the same token lifts the pause", restart)
		}
		if restart {
			g = s.guard()
		}
		if !g.SetToken(fingerprint("new")) || g.Account().Pause.Reason != "" || due(g, 4) == "" {
			t.Errorf("restart %v: another token does not lift the pause", restart)
		}
		if !restart {
			finish(g, 3, refused(quota.ReasonToken)) // of a request with the old token
			if got := g.Account().Pause; got != (quota.Pause{}) {
				t.Errorf("a refusal of the old token causes a pause: %+v", got)
			}
			g.Due(4, 1)
			start(g, 1)
			start(g, 2)
			g.SetToken(fingerprint("newest"))
			request(g, refused(quota.ReasonRateLimit)) // 3, with the newest token
			finish(g, 1, refused(quota.ReasonDailyQuota))
			if got := g.Account().Pause.Reason; got != quota.ReasonRateLimit {
				t.Errorf("a refusal of an old token changes the pause to %q", got)
			}
			g.SetToken(fingerprint("last"))
		}
		if g = s.guard(); g.Account().Pause.Reason != "" {
			t.Errorf("restart %v: the pause is back after another restart", restart)
		}
	}
}

// TestPauseAndClock sets the clock back during a pause: that does not make the pause longer.
func TestPauseAndClock(t *testing.T) {
	for _, reason := range []quota.Reason{quota.ReasonToken, quota.ReasonDailyQuota} {
		s := newSetup(0, every(time.Minute, 1, 2)...)
		s.at("2026-11-23 12:00")
		g := s.guard()
		request(g, refused(reason))
		s.at("2026-11-20 12:00")
		g.Due(4, 1)
		if got := g.Account().Pause.Resume.Sub(s.now); got > time.Hour {
			t.Errorf("%s: the next probe is in %v, want at most 1h", reason, got)
		}
	}
}

// model is a second, simple implementation of what the guard promises.
type model struct {
	started     map[int64]time.Time // start of the user's last request that was not refused
	wait        map[int64]time.Duration
	streak      map[int64]int
	last        map[int64]quota.Verdict
	inFlight    map[int64]time.Time
	left        map[int64]time.Time // start of the user's last request that a restart cut off
	pausedUntil time.Time
}

// inFlightAt returns how many requests the vendor may work on at a time.
func (m *model) inFlightAt(at time.Time) int {
	n := len(m.inFlight)
	for _, started := range m.left {
		if at.Sub(started) < time.Hour {
			n++
		}
	}
	return n
}

// TestGuardProperties performs random actions, restarts included. It checks every request that the guard allows, and
// that every user is requested again in the end.
func TestGuardProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const minInterval, limit = 15 * time.Minute, 30
		s := newSetup(limit, every(minInterval, 1, 2, 3, 4, 5)...)
		g := s.guard()
		m := &model{
			started: make(map[int64]time.Time), wait: make(map[int64]time.Duration), streak: make(map[int64]int),
			last: make(map[int64]quota.Verdict), inFlight: make(map[int64]time.Time), left: make(map[int64]time.Time),
		}
		used := make(map[string]int)
		today := s.now.Format(time.DateOnly)
		advance := func(d time.Duration) {
			s.add(d)
			if date := s.now.Format(time.DateOnly); date != today {
				today = date
				used[date] += m.inFlightAt(s.now.Truncate(24 * time.Hour))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				advance(time.Duration(rapid.SampledFrom([]int{1, 10, 60, 600, 3600, 7200}).Draw(t, "seconds")) * time.Second)
			},
			"start": func(t *rapid.T) {
				users := g.Due(2, 1)
				if len(users) == 0 {
					t.Skip("no user is due")
				}
				wmid := rapid.SampledFrom(users).Draw(t, "user").WMID
				if !start(g, wmid) {
					return
				}
				if _, inFlight := m.inFlight[wmid]; inFlight {
					t.Fatalf("user %d has two requests in flight", wmid)
				}
				if started, ok := m.started[wmid]; ok && s.now.Sub(started) < m.wait[wmid] {
					t.Fatalf("user %d is requested after %v, want at least %v", wmid, s.now.Sub(started), m.wait[wmid])
				}
				if s.now.Before(m.pausedUntil) {
					t.Fatalf("user %d is requested during a pause", wmid)
				}
				if used[today]++; used[today] > limit {
					t.Fatalf("got %d requests on %s", used[today], today)
				}
				m.inFlight[wmid] = s.now
			},
			"finish": func(t *rapid.T) {
				if len(m.inFlight) == 0 {
					t.Skip("no request is in flight")
				}
				wmid := rapid.SampledFrom(slices.Sorted(maps.Keys(m.inFlight))).Draw(t, "user")
				verdict := rapid.SampledFrom([]quota.Verdict{
					quota.VerdictSuccess, quota.VerdictRetry, quota.VerdictWait, quota.VerdictBackOff, quota.VerdictRefused,
				}).Draw(t, "verdict")
				result := quota.Result{Verdict: verdict}
				if verdict == quota.VerdictRefused {
					result = refused(rapid.SampledFrom(quota.Reasons()).Draw(t, "reason"))
				} else {
					result.NoResponse = verdict == quota.VerdictWait && rapid.Bool().Draw(t, "no response")
				}
				before := g.Account().Pause
				finish(g, wmid, result)
				m.finish(wmid, verdict, minInterval)
				after := g.Account().Pause
				if verdict == quota.VerdictRefused && before.Reason == "" && after.Reason == "" {
					// The guard ignores a refusal only of a request that started before the last pause.
					if m.pausedUntil.IsZero() {
						t.Fatal("a refusal does not cause a pause")
					}
				}
				if after.Reason != "" {
					m.pausedUntil = after.Resume
					if wait := after.Resume.Sub(s.now); wait > time.Hour {
						t.Fatalf("the next probe is in %v, want at most 1h", wait)
					}
				} else {
					m.pausedUntil = s.now
				}
			},
			"restart": func(*rapid.T) {
				g = s.guard()
				maps.Copy(m.left, m.inFlight)
				for wmid := range m.inFlight {
					verdict := m.last[wmid]
					if verdict != quota.VerdictBackOff {
						m.finish(wmid, quota.VerdictWait, minInterval)
						continue
					}
					m.started[wmid] = m.inFlight[wmid] // its backoff continues
					delete(m.inFlight, wmid)
				}
			},
			"": func(t *rapid.T) {
				status := g.Account()
				if status.Used != used[today] || !status.Reset.After(s.now) || !(status.Ratio >= 1) {
					t.Fatalf("got %+v, want %d used", status, used[today])
				}
			},
		})
		// Once all requests have finished and the API works, every user is requested again.
		for wmid := range m.inFlight {
			finish(g, wmid, quota.Result{})
		}
		requested := make(map[int64]bool)
		for range 3 * 24 * 60 {
			s.add(time.Minute)
			for _, user := range g.Due(0, 1) {
				if start(g, user.WMID) {
					requested[user.WMID] = true
					finish(g, user.WMID, quota.Result{})
				}
			}
		}
		if len(requested) != 5 {
			t.Fatalf("only %d of 5 users were requested within three days", len(requested))
		}
	})
}

// finish records how a request ended.
func (m *model) finish(wmid int64, verdict quota.Verdict, minInterval time.Duration) {
	started := m.inFlight[wmid]
	delete(m.inFlight, wmid)
	if verdict == quota.VerdictRefused {
		return
	}
	if m.last[wmid] != verdict {
		m.streak[wmid] = 0
	}
	m.last[wmid] = verdict
	m.streak[wmid]++
	m.started[wmid] = started
	m.wait[wmid] = minInterval
	switch verdict {
	case quota.VerdictRetry:
		m.wait[wmid] = min(time.Minute<<min(m.streak[wmid]-1, 10), minInterval)
	case quota.VerdictBackOff:
		m.wait[wmid] = min(minInterval<<min(m.streak[wmid], 10), 24*time.Hour)
	}
}

// TestPauseAfterLostProbe has a probe without a response, and then the refusal of a request that was in flight before
// the pause: the later end wins.
func TestPauseAfterLostProbe(t *testing.T) {
	for reason, until := range map[quota.Reason]time.Duration{
		quota.ReasonToken: 5 * time.Minute, quota.ReasonDailyQuota: time.Hour,
	} {
		s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
		s.at("2026-11-23 12:00")
		g := s.guard()
		start(g, 4)
		request(g, refused(reason))
		s.now = g.Account().Pause.Resume
		request(g, quota.Result{Verdict: quota.VerdictWait, NoResponse: true})
		other := refused(quota.ReasonRateLimit)
		if reason == quota.ReasonDailyQuota {
			other.RetryAfter = time.Hour // shorter than the rest of the day
			s.add(time.Second)
			until -= time.Second
		}
		finish(g, 4, other)
		s.expectPause(t, g, reason)
		s.toProbe(t, g, until)
	}
}

// TestSlowProbe has a probe that takes longer than the pause: there is no second one. The next one is allowed when
// the pause has passed again after it, also if its refusal would end earlier.
func TestSlowProbe(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
	g := s.guard()
	request(g, refused(quota.ReasonRateLimit))
	s.toProbe(t, g, 30*time.Second)
	start(g, 1)
	s.add(time.Minute)
	if start(g, 2) || g.Allows(2) || due(g, 4) != "" {
		t.Error("a second probe is allowed while the first is in flight")
	}
	finish(g, 1, refused(quota.ReasonRateLimit))
	s.toProbe(t, g, time.Minute)
	request(g, refused(quota.ReasonDailyQuota))
	s.toProbe(t, g, time.Hour)
	start(g, 1)
	s.add(time.Minute)
	finish(g, 1, refused(quota.ReasonToken))
	s.expectPause(t, g, quota.ReasonDailyQuota)
	s.toProbe(t, g, time.Hour)
}

// TestOldTokenAfterPauses refuses a request with the old token after another pause has started and ended, and during a
// third.
func TestOldTokenAfterPauses(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
	g := s.guard()
	token := func(text string) { g.SetToken(func([]byte) []byte { return []byte(text) }) }
	token("old")
	start(g, 4)
	token("new")
	request(g, refused(quota.ReasonRateLimit))
	s.toProbe(t, g, 30*time.Second)
	request(g, quota.Result{})
	request(g, refused(quota.ReasonRateLimit))
	finish(g, 4, refused(quota.ReasonToken))
	s.expectPause(t, g, quota.ReasonRateLimit)
}

// TestUndoneProbeKeepsRetryAfter has a request in flight ask for a longer pause while the probe of the pause is being
// recorded. The probe is not sent: the pause lasts as long as was asked for.
func TestUndoneProbeKeepsRetryAfter(t *testing.T) {
	c := newClock()
	g := newGuard(c, every(time.Minute, 1, 2, 3)...)
	start(g, 1)
	start(g, 2)
	refused := quota.Result{Verdict: quota.VerdictRefused, Reason: quota.ReasonRateLimit}
	finish(g, 1, refused)
	c.add(30 * time.Second)
	if !start(g, 3) {
		t.Fatal("no probe is allowed")
	}
	refused.RetryAfter = time.Hour
	finish(g, 2, refused)
	undo(g, 3)
	if got, want := g.Account().Pause.Resume, c.now.Add(time.Hour); !got.Equal(want) {
		t.Errorf("the pause resumes at %v, want %v", got, want)
	}
}
