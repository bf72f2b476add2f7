package quota_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

func refused(reason quota.Reason) quota.Result {
	return quota.Result{Verdict: quota.VerdictRefused, Reason: reason, Code: string(reason)}
}

// step moves the clock to when the pause may be probed, and checks that nobody
// may call a moment before.
func (s *setup) toProbe(t *testing.T, g *quota.Guard, want time.Duration) {
	t.Helper()
	resume := g.Account().Pause.Resume
	if got := resume.Sub(s.now); got != want {
		t.Errorf("the next probe is in %v, want %v", got, want)
	}
	s.now = resume.Add(-time.Second - time.Nanosecond)
	if len(g.Due(4, 1)) > 0 {
		t.Errorf("a call is due before %v", resume)
	}
	s.now = resume.Add(-time.Nanosecond)
	for wmid := range int64(8) {
		if g.Allows(wmid) || start(g, wmid) {
			t.Errorf("a call is allowed before %v", resume)
		}
	}
	s.now = resume
}

func TestPauseLengths(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	for reason, want := range map[quota.Reason][]time.Duration{
		quota.ReasonRateLimit:  {minute / 2, minute, 2 * minute, 4 * minute, 8 * minute, 10 * minute, 10 * minute},
		quota.ReasonToken:      {5 * minute, 10 * minute, 20 * minute, 40 * minute, hour, hour},
		quota.ReasonPermission: {5 * minute, 10 * minute},
		quota.ReasonBalance:    {5 * minute, 10 * minute},
		quota.ReasonTokenLimit: {5 * minute, 10 * minute},
		// From 12:00 on: hourly, and at midnight, and hourly again.
		quota.ReasonDailyQuota: {hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour, hour},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(reason, " restart ", restart), func(t *testing.T) {
				s := newSetup(0, every(minute, 1, 2, 3)...)
				s.at("2026-11-23 12:00")
				g := s.guard()
				for _, want := range want {
					if !request(g, refused(reason)) {
						t.Fatal("no call is due")
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
					t.Errorf("a good answer does not lift the pause: %+v", g.Account())
				}
				s.add(minute)
				request(g, refused(reason))
				s.toProbe(t, g, want[0]) // it begins anew
			})
		}
	}
}

// TestQuotaPauseEnds at the end of the quota day, if that comes within the hour.
func TestQuotaPauseEnds(t *testing.T) {
	s := newSetup(0, every(time.Minute, 1, 2, 3)...)
	s.at("2026-11-23 23:20")
	g := s.guard()
	request(g, refused(quota.ReasonDailyQuota))
	s.toProbe(t, g, 40*time.Minute)
	request(g, refused(quota.ReasonRateLimit)) // a new day: the quota is not it any more
	if got := g.Account().Pause.Reason; got != quota.ReasonRateLimit {
		t.Errorf("got a pause for %q", got)
	}
	s.toProbe(t, g, 30*time.Second)
}

// TestRefusalUsesUpNothing: who was refused is due when the pause ends.
func TestRefusalUsesUpNothing(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2)...)
	g := s.guard()
	request(g, quota.Result{})
	request(g, quota.Result{Verdict: quota.VerdictBackOff})
	before := g.Users()
	s.add(2 * time.Hour)
	request(g, refused(quota.ReasonToken))
	if got := due(g, 4); got != "" {
		t.Errorf("in the pause: got %s due", got)
	}
	s.add(5 * time.Minute)
	if got := due(g, 4); got != "1" {
		t.Errorf("at its end: got %q due, want the one that was refused", got)
	}
	after := g.Users()
	if after[0].Due != before[0].Due || after[1].Interval != before[1].Interval || after[0].Last.Code != "token" {
		t.Errorf("got %+v\nthen %+v", before, after)
	}
	if used := g.Account().Used; used != 3 {
		t.Errorf("got %d used: a refused call counts", used)
	}
}

// TestRefusalsInFlight count as one, whatever comes in between.
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
	finish(g, 3, quota.Result{}) // was under way before: lifts nothing
	if got := g.Account().Pause.Resume.Sub(s.now); got != 28*time.Second {
		t.Errorf("the next probe is in %v, want 28s", got)
	}
	s.add(28 * time.Second)
	request(g, quota.Result{})
	finish(g, 4, refused(quota.ReasonRateLimit)) // of before the pause, after its end
	if got := g.Account().Pause; got != (quota.Pause{}) {
		t.Errorf("an old refusal pauses again: %+v", got)
	}
	request(g, refused(quota.ReasonRateLimit))
	if got := g.Account().Pause.Resume.Sub(s.now); got != 30*time.Second {
		t.Errorf("the next pause lasts %v, want 30s", got)
	}
}

// TestLaterEndWins of two pauses that calls in flight cause.
func TestLaterEndWins(t *testing.T) {
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

// TestOneProbe lets one call through, and after it another user's.
func TestOneProbe(t *testing.T) {
	s := newSetup(0, every(time.Hour, 1, 2, 3, 4)...)
	g := s.guard()
	request(g, quota.Result{Verdict: quota.VerdictWait, TimedOut: true, NoResponse: true}) // 1 hangs
	request(g, refused(quota.ReasonToken))                                                 // 2
	s.add(2 * time.Hour)
	if got := due(g, 4); got != "2" {
		t.Fatalf("got %q due, want one user, and not the one who hangs", got)
	}
	if start(g, 2); start(g, 3) || g.Allows(3) || due(g, 4) != "" {
		t.Error("two calls probe at a time")
	}
	s.add(time.Minute)
	finish(g, 2, quota.Result{Verdict: quota.VerdictWait, TimedOut: true, NoResponse: true})
	s.toProbe(t, g, 5*time.Minute) // as long as before
	if got := due(g, 4); got != "3" {
		t.Errorf("got %q due, want another user", got)
	}
	if suppressed := g.Account().Suppressed[quota.SuppressedPaused]; suppressed == 0 {
		t.Error("no user was counted as passed over")
	}
}

// TestProbeAvoidsHangingUsers, also when they were refused since.
func TestProbeAvoidsHangingUsers(t *testing.T) {
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
			t.Errorf("restart %v: got %q due, want 2: 1 is more overdue, but hangs", restart, got)
		}
	}
}

// TestKilledProbe restarts under a probe: the next must wait, and be another user.
func TestKilledProbe(t *testing.T) {
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
			finish(g, 3, refused(quota.ReasonToken)) // of a call with the old token
			if got := g.Account().Pause; got != (quota.Pause{}) {
				t.Errorf("a refusal of the old token pauses the new: %+v", got)
			}
		}
		if !restart {
			g.Due(4, 1)
			start(g, 1)
			start(g, 2)
			g.SetToken(fingerprint("newest"))
			request(g, refused(quota.ReasonRateLimit)) // 3, with the newest token
			finish(g, 1, refused(quota.ReasonDailyQuota))
			if got := g.Account().Pause.Reason; got != quota.ReasonRateLimit {
				t.Errorf("a refusal of the old token changes the pause of the new: %+v", got)
			}
			g.SetToken(fingerprint("last"))
		}
		if g = s.guard(); g.Account().Pause.Reason != "" {
			t.Errorf("restart %v: a restart brings the pause back", restart)
		}
	}
}

// TestPauseAndClock sets the clock back in a pause: it lasts no longer for that.
func TestPauseAndClock(t *testing.T) {
	for _, reason := range []quota.Reason{quota.ReasonToken, quota.ReasonDailyQuota} {
		s := newSetup(0, every(time.Minute, 1, 2)...)
		s.at("2026-11-23 12:00")
		g := s.guard()
		request(g, refused(reason))
		s.at("2026-11-20 12:00")
		g.Due(4, 1)
		if got := g.Account().Pause.Resume.Sub(s.now); got > time.Hour {
			t.Errorf("%s: the next probe is in %v", reason, got)
		}
	}
}

// model is what a user of the guard may rely on, kept apart from its code.
type model struct {
	started map[int64]time.Time // latest call that counts
	wait    map[int64]time.Duration
	streak  map[int64]int
	last    map[int64]quota.Verdict
	running map[int64]time.Time
	paused  time.Time // no call before
}

// TestGuardProperties drives the guard at random, with restarts, and checks
// every call that it allows, and that it lets nobody wait for ever.
func TestGuardProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const minInterval, limit = 15 * time.Minute, 30
		s := newSetup(limit, every(minInterval, 1, 2, 3, 4, 5)...)
		g := s.guard()
		m := &model{
			started: make(map[int64]time.Time), wait: make(map[int64]time.Duration), streak: make(map[int64]int),
			last: make(map[int64]quota.Verdict), running: make(map[int64]time.Time),
		}
		spent := make(map[string]int)
		today := s.now.Format(time.DateOnly)
		advance := func(d time.Duration) {
			s.add(d)
			if date := s.now.Format(time.DateOnly); date != today {
				today = date
				spent[date] += len(m.running)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				advance(time.Duration(rapid.SampledFrom([]int{1, 10, 60, 600, 3600, 7200}).Draw(t, "seconds")) * time.Second)
			},
			"begin": func(t *rapid.T) {
				turns := g.Due(2, 1)
				if len(turns) == 0 {
					t.Skip("nobody is due")
				}
				wmid := rapid.SampledFrom(turns).Draw(t, "turn").WMID
				if !start(g, wmid) {
					return
				}
				if _, running := m.running[wmid]; running {
					t.Fatalf("user %d has two calls", wmid)
				}
				if started, ok := m.started[wmid]; ok && s.now.Sub(started) < m.wait[wmid] {
					t.Fatalf("user %d is called after %v, want %v", wmid, s.now.Sub(started), m.wait[wmid])
				}
				if s.now.Before(m.paused) {
					t.Fatalf("user %d is called in a pause", wmid)
				}
				if spent[today]++; spent[today] > limit {
					t.Fatalf("%d calls on %s", spent[today], today)
				}
				m.running[wmid] = s.now
			},
			"end": func(t *rapid.T) {
				var running []int64
				for wmid := range m.running {
					running = append(running, wmid)
				}
				if len(running) == 0 {
					t.Skip("no call runs")
				}
				slices.Sort(running)
				wmid := rapid.SampledFrom(running).Draw(t, "user")
				verdict := rapid.SampledFrom([]quota.Verdict{quota.VerdictSuccess, quota.VerdictRetry, quota.VerdictWait, quota.VerdictBackOff, quota.VerdictRefused}).Draw(t, "verdict")
				result := quota.Result{Verdict: verdict}
				if verdict == quota.VerdictRefused {
					result = refused(rapid.SampledFrom(quota.Reasons()).Draw(t, "reason"))
				} else {
					result.NoResponse = verdict == quota.VerdictWait && rapid.Bool().Draw(t, "unanswered")
				}
				was := g.Account().Pause
				finish(g, wmid, result)
				m.end(wmid, verdict, minInterval)
				is := g.Account().Pause
				if verdict == quota.VerdictRefused && was.Reason == "" && is.Reason == "" {
					// Only a refusal of before the latest pause is no news; the
					// call must have begun before it.
					if m.paused.IsZero() {
						t.Fatal("a refusal does not pause")
					}
				}
				if is.Reason != "" {
					m.paused = is.Resume
					if wait := is.Resume.Sub(s.now); wait > time.Hour {
						t.Fatalf("the next probe is in %v", wait)
					}
				} else {
					m.paused = s.now
				}
			},
			"restart": func(*rapid.T) {
				g = s.guard()
				for wmid := range m.running {
					verdict := m.last[wmid]
					if verdict != quota.VerdictBackOff {
						m.end(wmid, quota.VerdictWait, minInterval)
						continue
					}
					m.started[wmid] = m.running[wmid] // its back-off goes on
					delete(m.running, wmid)
				}
			},
			"": func(t *rapid.T) {
				status := g.Account()
				if status.Used != spent[today] || !status.Reset.After(s.now) || !(status.Ratio >= 1) {
					t.Fatalf("got %+v, want %d used", status, spent[today])
				}
			},
		})
		// When all calls have ended, time and good answers bring everybody back.
		for wmid := range m.running {
			finish(g, wmid, quota.Result{})
		}
		called := make(map[int64]bool)
		for range 3 * 24 * 60 {
			s.add(time.Minute)
			for _, turn := range g.Due(0, 1) {
				if start(g, turn.WMID) {
					called[turn.WMID] = true
					finish(g, turn.WMID, quota.Result{})
				}
			}
		}
		if len(called) != 5 {
			t.Fatalf("within three days only %d of 5 users had a call", len(called))
		}
	})
}

// end notes how a call ended.
func (m *model) end(wmid int64, verdict quota.Verdict, minInterval time.Duration) {
	started := m.running[wmid]
	delete(m.running, wmid)
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
