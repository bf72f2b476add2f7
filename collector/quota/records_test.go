package quota_test

import (
	"slices"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// TestRestart expects a new guard to restore everything from the records.
func TestRestart(t *testing.T) {
	s := newSetup(100, every(15*time.Minute, 1, 2, 3, 4)...)
	g := s.guard()
	g.Due(4, 1)
	for wmid, result := range map[int64]quota.Result{
		1: {Followers: 4153991, Following: 11},
		2: {Verdict: quota.VerdictBackOff, Code: "-404"},
		3: {Verdict: quota.VerdictWait, Code: "timeout", TimedOut: true, NoResponse: true},
	} {
		start(g, wmid)
		finish(g, wmid, result)
	}
	s.add(10 * time.Hour)
	for _, result := range []quota.Result{
		{Followers: 4153990, Following: 12}, // the previous value is kept, too
		{Verdict: quota.VerdictRetry, Code: "500", Detail: "why"},
	} {
		if !start(g, 1) {
			t.Fatal("no request is allowed")
		}
		finish(g, 1, result)
		s.add(10 * time.Hour)
	}
	if got := g.Users()[0]; got.Value.Followers != 4153990 || got.Previous.Followers != 4153991 {
		t.Errorf("got %+v, want both values", got)
	}
	g.Due(4, 1)
	want, wantStatus := g.Users(), g.Account()
	g = s.guard()
	got, status := g.Users(), g.Account()
	for i := range got { // counts are stored in the value only, not in the result
		want[i].Last.Followers, want[i].Last.Following = 0, 0
		for _, state := range []*quota.UserState{&want[i], &got[i]} {
			state.Value.At, state.Previous.At = state.Value.At.UTC(), state.Previous.At.UTC()
			state.Due, state.Started = state.Due.UTC(), state.Started.UTC()
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if status.Used != wantStatus.Used || status.Ratio != wantStatus.Ratio {
		t.Errorf("got  %+v\nwant %+v", status, wantStatus)
	}
}

// TestUnreadable restores records that cannot be decoded. Nothing of them is used, their number is known, and the
// elapsed share of the day's budget counts as used, once.
func TestUnreadable(t *testing.T) {
	for key, text := range map[string]string{
		"user/1":  `{"started": "2026-11-23T17:00:00Z", "streak": "1"}`,
		"user/3":  `{"started": 1}`, // not configured
		"budget":  `{"today": 1}`,
		"pause":   `{"reason": "token", "next": "2026-11-23T19:00:00Z", "length": "1h"}`,
		"token":   `{"salt": 1}`,
		"balance": `{"latest": {"currency": "CNY", "at": "2026-11-23T17:00:00Z", "amount": "1"}}`,
	} {
		s := newSetup(100, every(15*time.Minute, 1, 2)...)
		s.at("2026-11-23 18:00")
		g := s.guard()
		request(g, quota.Result{})
		request(g, quota.Result{})
		if got := g.Unreadable(); got != 0 {
			t.Errorf("%s: got %d unreadable records at first", key, got)
		}
		s.config.Store.(memory)[key] = []byte(text)
		g = s.guard()
		account := g.Account()
		if got := g.Unreadable(); got != 1 || account.Used != 75 {
			t.Errorf("%s: got %d unreadable records and %d used, want 1 and 75", key, got, account.Used)
		}
		if !account.Balance.At.IsZero() || account.Pause.Reason != "" {
			t.Errorf("%s: got balance %v and pause %v, want none", key, account.Balance, account.Pause)
		}
		s.at("2026-11-23 21:00")
		g = s.guard()
		if got := g.Unreadable(); got != 0 || g.Account().Used != 75 {
			t.Errorf("%s, restarted: got %d unreadable records and %d used, want 0 and 75", key, got, g.Account().Used)
		}
	}
}

// TestInterrupted kills the process during a request. The request may have been billed, so the whole interval must
// elapse before the next, counted from the latest moment at which it can have been sent.
func TestInterrupted(t *testing.T) {
	const minute = time.Minute
	for _, test := range []struct {
		before  quota.Verdict
		restart time.Duration // after the kill
		want    time.Duration
	}{
		{quota.VerdictSuccess, time.Second, 15 * minute},
		{quota.VerdictSuccess, minute, 15 * minute},
		{quota.VerdictRetry, time.Second, 15 * minute},
		{quota.VerdictWait, time.Second, 15 * minute},
		{quota.VerdictBackOff, time.Second, 30 * minute},
	} {
		s := newSetup(0, every(15*minute, 1)...)
		g := s.guard()
		start(g, 1)
		finish(g, 1, quota.Result{Verdict: test.before})
		s.add(time.Hour)
		if !start(g, 1) {
			t.Fatal("no request is allowed")
		}
		s.add(test.restart)
		g = s.guard()
		wait := test.want + min(test.restart, quota.MaxSendDelay)
		s.add(wait - test.restart - 1)
		if start(g, 1) {
			t.Errorf("after verdict %d and a kill: a request is allowed before %v", test.before, wait)
		}
		s.add(1)
		if !start(g, 1) {
			t.Errorf("after verdict %d and a kill: no request is allowed after %v", test.before, wait)
		}
	}
}

// TestRemovedUsers expects records of removed users to be kept for 30 days.
func TestRemovedUsers(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		interval, away time.Duration
		stored         int
	}{
		{20 * day, 29 * day, 2},
		{20 * day, 31 * day, 1},
		{365 * day, 31 * day, 2}, // kept for at least one interval
	} {
		s := newSetup(0, every(test.interval, 1, 2)...)
		g := s.guard()
		request(g, quota.Result{Followers: 1})
		request(g, quota.Result{Followers: 2})
		s.config.Users = every(test.interval, 1)
		if got := len(s.guard().Users()); got != 1 {
			t.Errorf("got %d users, want 1", got)
		}
		s.add(test.away)
		s.guard()
		stored := 0
		for key := range s.config.Store.(memory) {
			if key == "user/1" || key == "user/2" {
				stored++
			}
		}
		if stored != test.stored {
			t.Errorf("after %v: got records of %d users, want %d", test.away, stored, test.stored)
		}
	}
}

// TestForeignRecords starts with records that another version may have written: the guard must tolerate them.
func TestForeignRecords(t *testing.T) {
	s := newSetup(5, every(time.Minute, 1)...)
	for _, key := range []string{"user/1", "user/x", "user/", "budget", "pause", "token", "else"} {
		for _, value := range []string{
			"", "null", "[]", `{"reason":7}`, `{"today":0}`, `{"today":{},"ratio":-1}`, `{"started":-1}`,
		} {
			s.config.Store.(memory)[key] = []byte(value)
			g := s.guard()
			g.Due(1, 1)
			if status := g.Account(); !(status.Ratio >= 1) || !status.Reset.After(s.now) {
				t.Errorf("%s = %s: got %+v, want a ratio of at least 1 and a reset in the future", key, value, status)
			}
		}
	}
}
