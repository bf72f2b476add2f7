package collector_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// slowStore takes its time for every commit.
type slowStore struct {
	memoryStore
	commit time.Duration

	ready time.Time // when the latest changes are durable; protected by the memoryStore's lock
}

func newSlowStore(commit time.Duration) *slowStore {
	return &slowStore{memoryStore: memoryStore{records: make(map[string][]byte)}, commit: commit}
}

func (s *slowStore) Put(changes map[string][]byte) func(context.Context) {
	s.memoryStore.Put(changes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(changes) > 0 {
		s.ready = time.Now().Add(s.commit)
	}
	ready := s.ready
	return func(ctx context.Context) {
		select {
		case <-time.After(time.Until(ready)):
		case <-ctx.Done():
		}
	}
}

// withGuard gives a collector a guard of its own.
func withGuard(users []collector.User, change func(*quota.Config)) func(*collector.Config) {
	return func(config *collector.Config) {
		guard := quota.Config{Limits: limitsFor(users)}
		change(&guard)
		config.Guard = quota.New(guard)
	}
}

// withStore gives a collector a guard with a store.
func withStore(users []collector.User, store quota.Store) func(*collector.Config) {
	return withGuard(users, func(guard *quota.Config) { guard.Store = store })
}

// TestRecordedBeforeSent has a store that takes 2 s: no call is made before, and
// no value shown that is not kept.
func TestRecordedBeforeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowStore(2 * time.Second)
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), withStore(users(3), store))
		start := time.Now()
		if got := scrape(c, 9*time.Second); got != 4*time.Second {
			t.Errorf("the scrape took %v, want 2s for the calls and 2s for their ends", got)
		}
		for wmid, times := range api.started {
			if got := times[0].Sub(start); got != 2*time.Second {
				t.Errorf("user %d was asked about after %v, want 2s", wmid, got)
			}
		}
	})
}

// TestHangingDisk keeps calls from being made, and scrapes from nothing.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowStore(10 * time.Hour)
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), withStore(users(3), store))
		for i, want := range []time.Duration{9 * time.Second, 0, 0} {
			if got := scrape(c, 9*time.Second); got != want {
				t.Errorf("scrape %d took %v, want %v", i, got, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		c.Close(ctx)
		if got := api.calls(0); got != 0 {
			t.Errorf("got %d calls that were not recorded", got)
		}
	})
}

// TestSlowDisk takes longer and longer to record a request. What takes more than 5 s is not sent, costs no interval and
// no budget, and is requested by a later scrape.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowStore(4 * time.Second)
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(2), withGuard(users(2), func(guard *quota.Config) { guard.Store, guard.DailyLimit = store, 1000 }))
		for i, step := range []struct {
			commit   time.Duration
			requests int
		}{{4 * time.Second, 2}, {6 * time.Second, 2}, {14 * time.Minute, 2}, {0, 4}} {
			store.mu.Lock()
			store.commit = step.commit
			store.mu.Unlock()
			scrape(c, 9*time.Second)
			time.Sleep(30 * time.Minute)
			if got := api.calls(0); got != step.requests {
				t.Errorf("after step %d: got %d requests, want %d", i, got, step.requests)
			}
			if got := c.Snapshot().Account().Used; got != step.requests {
				t.Errorf("after step %d: got %d used, want %d", i, got, step.requests)
			}
		}
	})
}

// TestRefusedQueueEnds at once, though slots are taken by calls that hang.
func TestRefusedQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid == 4 {
				time.Sleep(time.Second)
				return failing(justoneapi.Kind{Code: "303", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonDailyQuota})(ctx, wmid)
			}
			return after(5*time.Second)(ctx, wmid)
		})
		c := newCollector(t, api, users(1000))
		if got := scrape(c, time.Minute); got != 5*time.Second {
			t.Errorf("the scrape took %v, want the 5s of the calls that ran", got)
		}
		if got := api.calls(0); got != 4 {
			t.Errorf("got %d calls, want the 4 that ran", got)
		}
		scrape(c, time.Minute)
		got := gather(t, c.Snapshot(), "bilibili_api_paused", "bilibili_suppressed_requests_total", "bilibili_api_resume_timestamp_seconds")
		for _, want := range []string{
			`bilibili_api_paused{reason="daily_quota"} 1`, `bilibili_suppressed_requests_total{reason="paused"} 997`,
			"bilibili_api_resume_timestamp_seconds 9.46688401e+08",
		} {
			if !strings.Contains(got, "\n"+want+"\n") {
				t.Errorf("want %s in\n%s", want, got)
			}
		}
	})
}

// TestBudgetMetrics compares all that is exposed under a budget and in a pause.
func TestBudgetMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(2), withGuard(users(2), func(guard *quota.Config) { guard.DailyLimit = 97 }))
		scrape(c, time.Minute)
		time.Sleep(20 * time.Minute)
		scrape(c, time.Minute) // passed over: every interval is stretched
		expectMetrics(t, c.Snapshot(), "stretched.metrics")
		api.answer = failing(justoneapi.Kind{Code: "601", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonBalance, Billing: justoneapi.NotBilled})
		time.Sleep(20 * time.Minute)
		scrape(c, time.Minute)
		scrape(c, time.Minute)
		expectMetrics(t, c.Snapshot(), "paused.metrics")
	})
}

// logLines is a logger that keeps messages.
type logLines struct {
	mu    sync.Mutex // protects the following field
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestPauseLog tells of a pause when it begins, is extended and ends.
func TestPauseLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		token := "old"
		dead := failing(justoneapi.Kind{Code: "100", Meaning: "the token is dead", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonToken})
		api := newFakeAPI(dead)
		c := newCollector(t, api, users(1), func(config *collector.Config) {
			config.Logger = log.NewLogfmtLogger(lines)
			config.Token = func() justoneapi.Token { return justoneapi.NewToken(token) }
		})
		scrape(c, time.Second)
		time.Sleep(5 * time.Minute)
		scrape(c, time.Second)
		api.answer = instant
		time.Sleep(10 * time.Minute)
		scrape(c, time.Second)
		api.answer = dead
		time.Sleep(15 * time.Minute)
		scrape(c, time.Second)
		token = "new"
		scrape(c, time.Second)
		got := lines.notable()
		want := `level=warn msg="Requests paused" reason=token err="100: the token is dead" advice="do this" next_probe=2000-01-01T00:05:00Z
level=info msg="Requests remain paused" reason=token err="100: the token is dead" next_probe=2000-01-01T00:15:00Z
level=info msg="Resuming API requests" paused_for=token
level=warn msg="Requests paused" reason=token err="100: the token is dead" advice="do this" next_probe=2000-01-01T00:35:00Z
level=info msg="Resuming API requests: token has changed"
level=warn msg="Requests paused" reason=token err="100: the token is dead" advice="do this" next_probe=2000-01-01T00:35:00Z`
		if strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	})
}

// notable returns the lines that are not for debugging.
func (l *logLines) notable() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.lines {
		if !strings.Contains(line, "level=debug") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestOutageLog has an API fail for 10,000 users at once, and then for one of
// them in turns with refusals of the account: the log is told, and not filled.
func TestOutageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		api := newFakeAPI(failing(justoneapi.Kind{Code: "503", Meaning: "unavailable"}))
		c := newCollector(t, api, users(10_000), func(config *collector.Config) {
			config.Logger = log.NewLogfmtLogger(lines)
			config.MaxConcurrency, config.MaxRequestsPerSecond = 100, 1e6
		})
		for range 5 {
			scrape(c, time.Minute)
			time.Sleep(15 * time.Minute)
		}
		got := lines.notable()
		last := `level=warn msg="Suppressed per-user log messages; the status page lists all users" suppressed=9980`
		if len(got) != 21 || !strings.Contains(got[0], `msg="Error fetching user" code=503 err="503: unavailable"`) || got[20] != last {
			t.Errorf("got %d lines, and the last is %s", len(got), got[len(got)-1])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		once := failing(justoneapi.Kind{Code: "301", Billing: justoneapi.NotBilled})
		api := newFakeAPI(nil)
		c := newCollector(t, api, users(1), func(config *collector.Config) { config.Logger = log.NewLogfmtLogger(lines) })
		for i := range 20 {
			if api.answer = once; i%2 == 1 {
				api.answer = failing(justoneapi.Explain("302", false))
			}
			scrape(c, time.Minute)
			time.Sleep(15 * time.Minute)
		}
		var failures int
		for _, line := range lines.notable() {
			failures += strings.Count(line, "Error fetching user")
		}
		if failures != 1 {
			t.Errorf("got %d lines about a failure that repeats", failures)
		}
	})
}

// TestBudgetLog tells when the day's budget is used up, and when there is one again.
func TestBudgetLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		c := newCollector(t, newFakeAPI(instant), users(3),
			withGuard(users(3), func(guard *quota.Config) { guard.DailyLimit = 2 }),
			func(config *collector.Config) { config.Logger = log.NewLogfmtLogger(lines) })
		for range 26 {
			scrape(c, time.Minute)
			time.Sleep(time.Hour)
		}
		want := `level=warn msg="Daily budget used up" daily_limit=2 resumes=2000-01-02T00:00:00Z advice="Raise quota.daily_limit if the account allows more, or lengthen the intervals."
level=info msg="Resuming API requests: daily budget available" daily_limit=2 remaining=2`
		if got := strings.Join(lines.notable(), "\n"); !strings.HasPrefix(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
