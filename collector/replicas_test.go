package collector_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
)

// leaderFunc is a function as a [refresh.Leader].
type leaderFunc func(ctx context.Context) (map[string][]byte, int64, error)

func (f leaderFunc) Lead(ctx context.Context) (map[string][]byte, int64, error) { return f(ctx) }

// dailyLimit is the budget of the replicas.
const dailyLimit = 1000

// withLeader returns a change of the configuration that adds a leader, and a guard on standby with a store.
func withLeader(users []collector.User, store quota.Store, lead leaderFunc) func(*collector.Config) {
	return func(config *collector.Config) {
		withGuard(users, func(guard *quota.Config) {
			guard.Store, guard.Term, guard.DailyLimit = store, 0, dailyLimit
		})(config)
		config.Leader = lead
	}
}

// failingStore is a store whose commits fail as long as it has an error.
type failingStore struct {
	memoryStore
	err error // protected by the memoryStore's lock
}

func (s *failingStore) Put(term int64, changes map[string][]byte) func(context.Context) error {
	s.memoryStore.Put(term, changes)
	return func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	}
}

// fail makes commits fail, or succeed with nil.
func (s *failingStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// recordsOf returns the records of a replica that has a value of each user and, if wanted, left a request in flight.
func recordsOf(users []collector.User, inFlight bool) map[string][]byte {
	s := &memoryStore{records: make(map[string][]byte)}
	guard := quota.New(quota.Config{Limits: limitsFor(users), Store: s, Term: 1})
	for _, user := range users {
		number, _, _ := guard.Start(user.WMID)
		if !inFlight || user.WMID != 1 {
			guard.Finish(user.WMID, number, quota.Result{Followers: 1000 + user.WMID})
		}
	}
	return s.contents()
}

// values returns the number of followers of each user that is exposed.
func values(c *collector.Collector) map[int64]int64 {
	values := make(map[int64]int64)
	for _, user := range c.Snapshot().Users() {
		if user.Exposed {
			values[user.User.WMID] = user.State.Value.Followers
		}
	}
	return values
}

// TestNotRecorded has a store whose commits fail: no request is sent, and the queue ends with the requests that could
// not be recorded. They use up neither interval nor budget, and are sent at the first scrape after that.
func TestNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failingStore{memoryStore: memoryStore{records: make(map[string][]byte)}, err: errors.New("disk on fire")}
		lines, api := &logLines{}, newFakeAPI(after(time.Second))
		c := newCollector(t, api, users(9), withLog(lines), withGuard(users(9), func(guard *quota.Config) {
			guard.Store, guard.DailyLimit = s, dailyLimit
		}))
		for range 2 {
			if got := scrape(c, 9*time.Second); got != 0 {
				t.Errorf("the scrape took %v, want 0", got)
			}
		}
		if got := c.Snapshot().Account(); api.requests(0) != 0 || got.Used != 0 || got.InFlight != 0 {
			t.Errorf("got %d requests and %+v, want nothing sent or used", api.requests(0), got)
		}
		log := strings.Join(lines.aboveDebug(), "\n")
		if got := strings.Count(log, `msg="Request not sent" err="recording it: disk on fire"`); got != 2*4 {
			t.Errorf("got %d messages, want one for each of 4 slots and 2 scrapes:\n%s", got, log)
		}
		s.fail(nil)
		scrape(c, 9*time.Second)
		if got := c.Snapshot().Account(); api.requests(0) != 9 || got.Used != 9 {
			t.Errorf("got %d requests and %d used, want 9", api.requests(0), got.Used)
		}
	})
}

// TestStandbyLog uses up the budget: a standby does not log that.
func TestStandbyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lines := &memoryStore{records: make(map[string][]byte)}, &logLines{}
		records := recordsOf(users(dailyLimit), false)
		c := newCollector(t, newFakeAPI(instant), users(1), withLog(lines),
			withLeader(users(1), s, func(context.Context) (map[string][]byte, int64, error) { return records, 0, nil }))
		scrape(c, 9*time.Second)
		if got := c.Snapshot().Account(); got.Remaining != 0 || len(lines.aboveDebug()) != 0 {
			t.Errorf("got %+v and %q, want nothing remaining and nothing logged", got, lines.aboveDebug())
		}
	})
}

// TestStandby scrapes a replica on standby: it exposes what it has loaded, and sends, stores and counts nothing.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api := &memoryStore{records: make(map[string][]byte)}, newFakeAPI(instant)
		records, lines := recordsOf(users(3), true), &logLines{}
		c := newCollector(t, api, users(3), withLog(lines),
			withLeader(users(3), s, func(context.Context) (map[string][]byte, int64, error) { return records, 0, nil }))
		for range 3 {
			if got := scrape(c, 9*time.Second); got != 0 {
				t.Errorf("the scrape took %v, want 0", got)
			}
			if got := values(c); len(got) != 2 || got[2] != 1002 || got[3] != 1003 {
				t.Errorf("got values %v, want those of the records", got)
			}
			time.Sleep(time.Hour)
		}
		expectLines(t, c, []string{"bilibili_suppressed_requests_total"},
			`bilibili_suppressed_requests_total{reason="backoff"} 0`,
			`bilibili_suppressed_requests_total{reason="daily_limit"} 0`,
			`bilibili_suppressed_requests_total{reason="paused"} 0`,
			`bilibili_suppressed_requests_total{reason="stretch"} 0`)
		if got := api.requests(0); got != 0 || len(s.contents()) != 0 || len(lines.aboveDebug()) != 0 {
			t.Errorf("got %d requests, %d records and %q, want none", got, len(s.contents()), lines.aboveDebug())
		}
	})
}

// TestHangingLeader has a leader that does not respond: it delays each scrape by 1 s at most, no request is sent, and
// known values are exposed.
func TestHangingLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, s := newFakeAPI(instant), &memoryStore{records: make(map[string][]byte)}
		records, hangs := recordsOf(users(3), false), false
		c := newCollector(t, api, users(3), withLeader(users(3), s,
			func(ctx context.Context) (map[string][]byte, int64, error) {
				if hangs {
					<-ctx.Done()
					return nil, 0, ctx.Err()
				}
				return records, 1, nil
			}))
		scrape(c, 9*time.Second)
		hangs = true
		for range 3 {
			time.Sleep(time.Hour)
			if got := scrape(c, 9*time.Second); got != time.Second {
				t.Errorf("the scrape took %v, want 1s", got)
			}
			if got := values(c); len(got) != 3 || got[1] != 1001 {
				t.Errorf("got values %v, want those of the records", got)
			}
		}
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests without a lead, want none", got)
		}
	})
}

// TestHangingDatabase has a database that does not respond, although there are changes to store: as with a leader that
// hangs, a scrape takes 1 s.
func TestHangingDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commit time.Duration
		records := recordsOf(users(3), true)
		s := store.OpenShared(database{
			func(int64, map[string][]byte) error {
				time.Sleep(commit)
				return nil
			},
			func() (store.Contents, store.Lease, error) {
				return store.Contents{Records: records, Term: 1}, store.Lease{}, nil
			},
			func(int64) error { return nil },
		}, store.Config{OnError: func(string, error) {}})
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), withLeader(users(3), s, s.Lead))
		scrape(c, 9*time.Second)
		commit = 20 * time.Second
		for i := range 4 {
			time.Sleep(time.Hour)
			if got := scrape(c, 9*time.Second); got != time.Second {
				t.Errorf("scrape %d took %v, want 1s", i, got)
			}
			if got := values(c); len(got) != 2 || got[2] != 1002 {
				t.Errorf("got values %v, want those of the records", got)
			}
		}
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests without a lead, want none", got)
		}
		s.Close(t.Context())
	})
}

// TestTakeover makes a replica on standby active: it logs the requests that the former one left in flight, and requests
// those users that are due.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api, lines := &memoryStore{records: make(map[string][]byte)}, newFakeAPI(instant), &logLines{}
		records, term, err := recordsOf(users(3), true), int64(0), error(nil)
		c := newCollector(t, api, users(4), withLog(lines),
			withLeader(users(4), s, func(context.Context) (map[string][]byte, int64, error) { return records, term, err }))
		scrape(c, 9*time.Second)
		term, err = 2, errors.New("connection lost") // after it has become active
		scrape(c, 9*time.Second)
		want := `level=warn msg="Requests were interrupted when the active replica stopped" requests=1 ` +
			`advice="No action is needed: they may have been billed, so their users wait for their interval."`
		if got := strings.Join(lines.aboveDebug(), "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests after an error, want none", got)
		}
		records, err = nil, nil
		scrape(c, 9*time.Second)
		if api.requests(4) != 1 || api.requests(0) != 1 {
			t.Errorf("got %d requests, want one for user 4, which the former replica did not request", api.requests(0))
		}
		if got := lines.aboveDebug(); len(got) != 1 {
			t.Errorf("got %q, want nothing new", got)
		}
	})
}

// TestCutOffResponse has another replica take over while requests are in flight: a response is logged and not exposed,
// and neither it nor a request that is not yet recorded disturbs those that follow.
func TestCutOffResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api, lines := &memoryStore{records: make(map[string][]byte)}, newFakeAPI(after(10*time.Second)), &logLines{}
		records, term := map[string][]byte{}, int64(1)
		c := newCollector(t, api, users(1), withLog(lines),
			withLeader(users(1), s, func(context.Context) (map[string][]byte, int64, error) { return records, term, nil }))
		scrape(c, time.Second)
		records, term = recordsOf(users(1), false), 0
		scrape(c, time.Second)
		time.Sleep(10 * time.Second)
		scrape(c, time.Second)
		if got := values(c); got[1] != 1001 || api.requests(0) != 1 {
			t.Errorf("got values %v after %d requests, want that of the other replica and one request", got, api.requests(0))
		}
		want := `level=warn wmid=1 name=user msg="Response not recorded, because another replica has become active" ` +
			`code= followers=10 following=1`
		if got := strings.Join(lines.aboveDebug(), "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		expectLines(t, c, []string{"bilibili_api_requests_total", "bilibili_api_requests_in_flight"},
			"bilibili_api_requests_in_flight 0", "bilibili_api_requests_total 1")
	})
}

// TestLostResponse has another replica take over while two requests are in flight: the record of the first response is
// refused, and that of the second one is not even tried, because no scrape has loaded the records since. Both responses
// are logged.
func TestLostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var superseded atomic.Bool
		s := store.OpenShared(database{
			func(int64, map[string][]byte) error {
				if superseded.Load() {
					return store.ErrSuperseded
				}
				return nil
			},
			func() (store.Contents, store.Lease, error) {
				return store.Contents{Records: map[string][]byte{}, Term: 1}, store.Lease{}, nil
			},
			func(int64) error { return nil },
		}, store.Config{OnError: func(string, error) {}})
		defer s.Close(t.Context())
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			return after(time.Duration(wmid)*10*time.Second)(ctx, wmid)
		})
		lines := &logLines{}
		c := newCollector(t, api, users(2), withLog(lines), withLeader(users(2), s, s.Lead))
		scrape(c, time.Second)
		superseded.Store(true)
		time.Sleep(time.Minute)
		line := `level=warn wmid=%d name=user msg="Error recording response" err="this replica is not active" ` +
			`code= followers=%d following=%d`
		want := fmt.Sprintf(line+"\n"+line, 1, 10, 1, 2, 20, 2)
		if got := strings.Join(lines.aboveDebug(), "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestSupersededQueue has another replica take over during a refresh with a long queue: the queue ends.
func TestSupersededQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failingStore{memoryStore: memoryStore{records: make(map[string][]byte)}}
		var mu sync.Mutex
		var requests int
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			stat, err := after(time.Second)(ctx, wmid)
			mu.Lock()
			defer mu.Unlock()
			if requests++; requests == 6 {
				s.fail(store.ErrSuperseded)
			}
			return stat, err
		})
		records := map[string][]byte{}
		c := newCollector(t, api, users(100), withLeader(users(100), s,
			func(context.Context) (map[string][]byte, int64, error) { return records, 1, nil }))
		scrape(c, time.Minute)
		if got := api.requests(0); got < 6 || got > 9 {
			t.Errorf("got %d requests, want the 6 until the takeover and at most 3 more in flight", got)
		}
		if got := c.Snapshot().Account(); got.Used != api.requests(0) {
			t.Errorf("got %d used after %d requests", got.Used, api.requests(0))
		}
	})
}

// TestQueueEndsWithoutLead loses the database during a refresh with a long queue: the next scrape ends the queue, and
// requests in flight are exposed when they have ended.
func TestQueueEndsWithoutLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api := &memoryStore{records: make(map[string][]byte)}, newFakeAPI(after(time.Second))
		records, err := map[string][]byte{}, error(nil)
		c := newCollector(t, api, users(100), withLeader(users(100), s,
			func(context.Context) (map[string][]byte, int64, error) { return records, 1, err }))
		scrape(c, 2500*time.Millisecond)
		records, err = nil, errors.New("connection lost")
		scrape(c, time.Second)
		time.Sleep(time.Minute)
		if got := api.requests(0); got != 12 || len(values(c)) != 12 {
			t.Errorf("got %d requests and %d values, want the 12 that were sent before the second scrape", got, len(values(c)))
		}
	})
}

// TestShutdownKeepsLease shuts down while requests are in flight for longer than a lease lasts. Scrapes keep the lease,
// so that the responses are recorded, until another replica takes over. They do nothing else, and do not wait.
func TestShutdownKeepsLease(t *testing.T) {
	for name, test := range map[string]struct {
		takeover bool // before the first scrape during shutdown
		leads    int
		values   int
	}{
		"active": {false, 10, 4}, "superseded": {true, 2, 9},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, api := &memoryStore{records: make(map[string][]byte)}, newFakeAPI(after(5*time.Minute))
				leads, tokens, records, term := 0, 0, map[string][]byte{}, int64(1)
				c := newCollector(t, api, users(9), withLeader(users(9), s,
					func(context.Context) (map[string][]byte, int64, error) {
						leads++
						return records, term, nil
					}), func(config *collector.Config) {
					config.RequestTimeout = 6 * time.Minute
					token := config.Token
					config.Token = func() justoneapi.Token { tokens++; return token() }
				})
				go scrape(c, time.Hour)
				synctest.Wait()
				records = nil
				if test.takeover {
					records, term = recordsOf(users(9), false), 0
				}
				start := time.Now()
				closed := make(chan time.Duration)
				go func() {
					c.Close(context.Background())
					closed <- time.Since(start)
				}()
				for range 9 {
					time.Sleep(30 * time.Second)
					if got := scrape(c, 9*time.Second); got != 0 {
						t.Errorf("the scrape took %v, want 0s", got)
					}
				}
				if got := <-closed; got != 5*time.Minute {
					t.Errorf("shutdown took %v, want 5m0s", got)
				}
				scrape(c, 9*time.Second)
				if got := values(c); leads != test.leads || len(got) != test.values {
					t.Errorf("requested the lead %d times, with values %v; want %d times and %d values",
						leads, got, test.leads, test.values)
				}
				if api.requests(0) != 4 || tokens != 1 {
					t.Errorf("got %d requests and %d readings of the token, want 4 and 1", api.requests(0), tokens)
				}
			})
		})
	}
}

// TestShutdownWithHangingLeader shuts down with a leader that does not respond. Further scrapes do not prolong that.
func TestShutdownWithHangingLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, s := recordsOf(users(1), false), &memoryStore{records: make(map[string][]byte)}
		c := newCollector(t, newFakeAPI(instant), users(1), withLeader(users(1), s,
			func(ctx context.Context) (map[string][]byte, int64, error) {
				if loaded := records; loaded != nil {
					records = nil
					return loaded, 1, nil
				}
				<-ctx.Done()
				return nil, 0, ctx.Err()
			}))
		scrape(c, 9*time.Second)
		var scrapes sync.WaitGroup
		for i := range 20 {
			scrapes.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				scrape(c, 9*time.Second)
			})
		}
		synctest.Wait()
		start := time.Now()
		c.Close(context.Background())
		if got := time.Since(start); got != time.Second {
			t.Errorf("shutdown took %v, want 1s", got)
		}
		scrapes.Wait()
	})
}
