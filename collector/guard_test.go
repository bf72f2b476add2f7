package collector_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// slowStore is a store whose commits take a while.
type slowStore struct {
	memoryStore
	commit time.Duration // how long one takes
	ready  time.Time     // when the latest changes are durable; protected by the memoryStore's lock
}

func newSlowStore(commit time.Duration) *slowStore {
	return &slowStore{memoryStore: memoryStore{records: make(map[string][]byte)}, commit: commit}
}

func (s *slowStore) Put(term int64, changes map[string][]byte) func(context.Context) error {
	s.memoryStore.Put(term, changes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(changes) > 0 {
		s.ready = time.Now().Add(s.commit)
	}
	ready := s.ready
	return func(ctx context.Context) error {
		select {
		case <-time.After(time.Until(ready)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withGuard returns a change of the configuration that replaces the guard by one with a changed configuration.
func withGuard(users []collector.User, change func(*quota.Config)) func(*collector.Config) {
	return func(config *collector.Config) {
		guard := quota.Config{Limits: limitsFor(users), Term: 1}
		change(&guard)
		config.Guard = quota.New(guard)
	}
}

// withStore returns a change of the configuration that replaces the guard by one with a store.
func withStore(users []collector.User, store quota.Store) func(*collector.Config) {
	return withGuard(users, func(guard *quota.Config) { guard.Store = store })
}

// withDailyLimit returns a change of the configuration that replaces the guard by one with a daily limit.
func withDailyLimit(users []collector.User, limit int) func(*collector.Config) {
	return withGuard(users, func(guard *quota.Config) { guard.DailyLimit = limit })
}

// TestRecordedBeforeSent has a store that takes 2 s for a commit: no request is sent and no scrape returns before its
// records are durable.
func TestRecordedBeforeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowStore(2 * time.Second)
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), withStore(users(3), store))
		start := time.Now()
		if got := scrape(c, 9*time.Second); got != 4*time.Second {
			t.Errorf("the scrape took %v, want 2s for the starts of the requests and 2s for their results", got)
		}
		for wmid, times := range api.started {
			if got := times[0].Sub(start); got != 2*time.Second {
				t.Errorf("user %d was requested after %v, want 2s", wmid, got)
			}
		}
	})
}

// TestBlockedDisk has a store that never finishes: no request is sent, and scrapes still return.
func TestBlockedDisk(t *testing.T) {
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
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests that were not recorded, want none", got)
		}
	})
}

// TestSlowDisk has a store that takes longer and longer. A request whose record takes more than 10 s is not sent, uses
// up neither interval nor budget, and is sent at a later scrape.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, lines := newSlowStore(4*time.Second), &logLines{}
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(2), withGuard(users(2), func(guard *quota.Config) {
			guard.Store, guard.DailyLimit = store, 1000
		}), withLog(lines))
		for i, step := range []struct {
			commit   time.Duration
			requests int
		}{{4 * time.Second, 2}, {12 * time.Second, 2}, {14 * time.Minute, 2}, {0, 4}} {
			store.mu.Lock()
			store.commit = step.commit
			store.mu.Unlock()
			scrape(c, 9*time.Second)
			time.Sleep(30 * time.Minute)
			if got := api.requests(0); got != step.requests {
				t.Errorf("after step %d: got %d requests, want %d", i, got, step.requests)
			}
			if got := c.Snapshot().Account().Used; got != step.requests {
				t.Errorf("after step %d: got %d used, want %d", i, got, step.requests)
			}
		}
		log := strings.Join(lines.aboveDebug(), "\n")
		if got := strings.Count(log, `msg="Request not sent" err="recording it took `); got != 4 {
			t.Errorf("got %d messages about requests that were not sent, want 4:\n%s", got, log)
		}
	})
}

// connectingFor returns a change of a transport that makes connecting take a while.
func connectingFor(d time.Duration) func(*http.Transport) {
	return func(transport *http.Transport) {
		connect := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(d)
			return connect(ctx, network, address)
		}
	}
}

// TestSlowConnection has an API to which connecting takes a while. A request, for a user or the balance, is not sent
// later than 10 s after it was recorded, and then uses up no budget.
func TestSlowConnection(t *testing.T) {
	for _, test := range []struct {
		connecting time.Duration
		want       int // requests of each kind
	}{{10 * time.Second, 1}, {10*time.Second + 1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1),
				connectingFor(test.connecting))
			c := newCollector(t, client, users(1), withBalance(users(1), time.Hour))
			scrape(c, time.Minute)
			synctest.Wait()
			if got := server.Tally(1).Requests; got != test.want {
				t.Errorf("connecting for %v: got %d requests for the user, want %d", test.connecting, got, test.want)
			}
			if got := server.Balances(); got != test.want {
				t.Errorf("connecting for %v: got %d requests for the balance, want %d", test.connecting, got, test.want)
			}
			if got := c.Snapshot().Account().Used; got != test.want {
				t.Errorf("connecting for %v: got %d used, want %d", test.connecting, got, test.want)
			}
		})
	}
}

// TestQueueEndsWhenRefused refuses the account while the other slots are taken by slow requests: the queue is dropped
// at once.
func TestQueueEndsWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dailyQuota := failing(justoneapi.Kind{
			Code: "303", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonDailyQuota,
		})
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid == 4 {
				time.Sleep(time.Second)
				return dailyQuota(ctx, wmid)
			}
			return after(5*time.Second)(ctx, wmid)
		})
		c := newCollector(t, api, users(1000))
		if got := scrape(c, time.Minute); got != 5*time.Second {
			t.Errorf("the scrape took %v, want the 5s of the requests in flight", got)
		}
		if got := api.requests(0); got != 4 {
			t.Errorf("got %d requests, want the 4 that were in flight", got)
		}
		scrape(c, time.Minute)
		got := gather(t, c.Snapshot(), "bilibili_api_paused", "bilibili_suppressed_requests_total",
			"bilibili_api_resume_timestamp_seconds")
		for _, want := range []string{
			`bilibili_api_paused{reason="daily_quota"} 1`, `bilibili_suppressed_requests_total{reason="paused"} 997`,
			"bilibili_api_resume_timestamp_seconds 9.46688401e+08",
		} {
			if !strings.Contains(got, "\n"+want+"\n") {
				t.Errorf("got\n%s\nwant it to contain %s", got, want)
			}
		}
	})
}

// TestBudgetMetrics compares the whole exposition with golden files, with stretched intervals and during a pause.
func TestBudgetMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(2), withDailyLimit(users(2), 97))
		scrape(c, time.Minute)
		time.Sleep(20 * time.Minute)
		scrape(c, time.Minute) // no request, because every interval is stretched
		expectMetrics(t, c.Snapshot(), "stretched.metrics")
		api.respond = failing(justoneapi.Kind{
			Code: "601", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonBalance, Billing: justoneapi.NotBilled,
		})
		time.Sleep(20 * time.Minute)
		scrape(c, time.Minute)
		scrape(c, time.Minute)
		expectMetrics(t, c.Snapshot(), "paused.metrics")
	})
}

// logLines keeps the lines that are written to it.
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

// aboveDebug returns the lines above debug level.
func (l *logLines) aboveDebug() []string {
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

// with returns the lines that contain a text.
func (l *logLines) with(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool {
		return !strings.Contains(line, text)
	}), "\n")
}

// withLog returns a change of the configuration that logs to lines.
func withLog(lines *logLines) func(*collector.Config) { return withLogTo(lines) }

func withLogTo(w io.Writer) func(*collector.Config) {
	return func(config *collector.Config) { config.Logger = log.NewLogfmtLogger(w) }
}

// writer is a function as an [io.Writer].
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestPauseLog expects a message when a pause starts, continues and ends.
func TestPauseLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		token := "old"
		invalidToken := failing(justoneapi.Kind{
			Code: "100", Meaning: "invalid token", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonToken,
		})
		api := newFakeAPI(invalidToken)
		c := newCollector(t, api, users(1), withLog(lines), func(config *collector.Config) {
			config.Token = func() justoneapi.Token { return justoneapi.NewToken(token) }
		})
		scrape(c, time.Second)
		time.Sleep(5 * time.Minute)
		scrape(c, time.Second)
		api.respond = instant
		time.Sleep(10 * time.Minute)
		scrape(c, time.Second)
		api.respond = invalidToken
		time.Sleep(15 * time.Minute)
		scrape(c, time.Second)
		token = "new"
		scrape(c, time.Second)
		got := strings.Join(lines.aboveDebug(), "\n")
		const paused = `level=warn msg="Requests paused" reason=token err="100: invalid token" advice="do this" next_probe=`
		const want = paused + `2000-01-01T00:05:00Z
level=info msg="Requests remain paused" reason=token err="100: invalid token" next_probe=2000-01-01T00:15:00Z
level=info msg="Resuming API requests" paused_for=token
` + paused + `2000-01-01T00:35:00Z
level=info msg="Resuming API requests, because the token has changed"
` + paused + `2000-01-01T00:35:00Z`
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestRefreshLog expects one line for each refresh, at debug level.
func TestRefreshLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid == 1 {
				return failing(justoneapi.Explain("-404", true))(ctx, wmid)
			}
			return after(2*time.Second)(ctx, wmid)
		})
		c := newCollector(t, api, users(6), withLog(lines))
		scrape(c, time.Second) // does not wait for the refresh
		scrape(c, time.Second) // joins it
		time.Sleep(10 * time.Second)
		scrape(c, time.Second) // nobody is due
		api.respond = failing(justoneapi.Kind{
			Code: "100", Scope: justoneapi.ScopeAccount, Reason: justoneapi.ReasonToken,
		})
		time.Sleep(15 * time.Minute)
		scrape(c, time.Second) // the first four are refused, and the fifth is not requested
		got := lines.with(`msg="Refresh finished"`)
		const want = `level=debug msg="Refresh finished" due=6 requested=6 failed=1 duration=4s
level=debug msg="Refresh finished" due=0 requested=0 failed=0 duration=0s
level=debug msg="Refresh finished" due=5 requested=4 failed=4 duration=0s`
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestOutageLog has an API that fails for 10,000 users at once, and one that alternates between a failure of the same
// user and a refusal of the account: the log reports both without being flooded.
func TestOutageLog(t *testing.T) {
	for _, test := range []struct {
		kind  justoneapi.Kind
		lines int
		last  string // line about suppressed messages
		then  string // others that are logged
		more  string
	}{
		{
			justoneapi.Explain("-404", true), 21, "suppressed=9980 most_frequent_code=-404",
			`msg="Error fetching user" code=-404 err="-404: Bilibili: no such user"`, "",
		},
		{ // the outage pause ends the refresh of 104 users, and each of four probes is reported
			justoneapi.Kind{Code: "503", Meaning: "unavailable"}, 22 + 2*4, "suppressed=84 most_frequent_code=503",
			`level=warn msg="Requests paused" reason=outage err="503: unavailable" ` +
				`advice="do this" next_probe=2000-01-01T00:01:00Z`,
			`level=info msg="Requests remain paused" reason=outage err="503: unavailable" next_probe=2000-01-01T00:17:00Z`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			lines := &logLines{}
			api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
				time.Sleep(time.Duration(wmid) * time.Microsecond) // one after another
				return failing(test.kind)(ctx, wmid)
			})
			c := newCollector(t, api, users(10_000), withLog(lines), func(config *collector.Config) {
				config.MaxConcurrency, config.MaxRequestsPerSecond = 100, 1e6
			})
			for i := range 5 {
				scrape(c, time.Minute)
				if last := lines.aboveDebug(); i == 0 && !strings.Contains(last[len(last)-1], test.last) {
					t.Errorf("%s: got %s at the end of the refresh, want %s", test.kind.Code, last[len(last)-1], test.last)
				}
				time.Sleep(15 * time.Minute)
			}
			got := strings.Join(lines.aboveDebug(), "\n")
			last := `level=warn msg="Suppressed per-user log messages; the status page lists all users" ` + test.last
			if n := strings.Count(got, "\n") + 1; n != test.lines || strings.Count(got, "Suppressed") != 1 ||
				!strings.Contains(got, last) || !strings.Contains(got, test.then) || !strings.Contains(got, test.more) {
				t.Errorf("%s: got %d lines, want %d with %q, %q and %q; got\n%s",
					test.kind.Code, n, test.lines, last, test.then, test.more, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		failures := []func(context.Context, int64) (justoneapi.Stat, error){
			failing(justoneapi.Kind{Code: "301", Billing: justoneapi.NotBilled}),
			failing(justoneapi.Explain("302", false)),
		}
		api := newFakeAPI(nil)
		c := newCollector(t, api, users(1), withLog(lines))
		for i := range 20 {
			api.respond = failures[i%2]
			scrape(c, time.Minute)
			time.Sleep(15 * time.Minute)
		}
		if got := strings.Count(strings.Join(lines.aboveDebug(), "\n"), "Error fetching user"); got != 1 {
			t.Errorf("got %d lines about a failure that repeats, want 1", got)
		}
	})
}

// TestBudgetLog expects a message when the day's budget is used up, and when there is one again.
func TestBudgetLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		c := newCollector(t, newFakeAPI(instant), users(3), withDailyLimit(users(3), 2), withLog(lines))
		for range 26 {
			scrape(c, time.Minute)
			time.Sleep(time.Hour)
		}
		want := `level=warn msg="Daily budget used up" daily_limit=2 resumes=2000-01-02T00:00:00Z ` +
			`advice="Raise quota.daily_limit if the account allows more, or lengthen the intervals."
level=info msg="Resuming API requests, because there is a budget again" daily_limit=2 remaining=2`
		if got := strings.Join(lines.aboveDebug(), "\n"); !strings.HasPrefix(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestRecordedAfterClose closes the collector while a request is being recorded: it is not sent, and costs nothing.
func TestRecordedAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(1), withStore(users(1), newSlowStore(2*time.Second)))
		scrape(c, time.Second)
		c.Close(t.Context())
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests after Close", got)
		}
		if got := c.Snapshot().Account(); got.Used != 0 || got.InFlight != 0 {
			t.Errorf("got %+v, want nothing used", got)
		}
	})
}

// TestRefillAfterPause has so many users fail that requests pause, and a request in flight succeed: everyone due is
// requested in the same refresh.
func TestRefillAfterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			time.Sleep(time.Duration(wmid) * time.Millisecond) // so that responses arrive in order
			if wmid%20 > 8 {
				return failing(justoneapi.Explain("500", false))(ctx, wmid)
			}
			return instant(ctx, wmid)
		})
		c := newCollector(t, api, users(200), func(config *collector.Config) {
			config.MaxConcurrency, config.MaxRequestsPerSecond = 20, 1e6
		})
		scrape(c, time.Minute)
		if got := api.requests(0); got != 200 {
			t.Errorf("got %d requests, want one for each of 200 users", got)
		}
	})
}
