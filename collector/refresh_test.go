package collector_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// TestDay lets two Prometheus servers scrape for a day, each every minute and with some jitter, through the real API
// client and its HTTP transport. It counts the requests that arrive at the API: 96 for each user.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		response := justoneapitest.Latency(2*time.Second, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		server, client := newPipeAPI(t, response)
		c := newCollector(t, client, users(3))

		var servers sync.WaitGroup
		for _, offset := range []time.Duration{0, 25 * time.Second} {
			servers.Go(func() {
				start := time.Now().Add(offset)
				for at := start; at.Before(start.Add(24 * time.Hour)); at = at.Add(time.Minute) {
					time.Sleep(time.Until(at) + rand.N(10*time.Millisecond))
					scrape(c, 9500*time.Millisecond)
				}
			})
		}
		servers.Wait()
		for wmid := range int64(3) {
			if got := server.Tally(wmid + 1).Requests; got != 96 {
				t.Errorf("user %d: got %d requests in a day, want 96", wmid+1, got)
			}
		}
	})
}

// TestTimeout has the request for one user of three time out. Only the scrape that starts the request is slow, the
// other users have their values, and the user is not requested again before its interval has elapsed.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid == 2 {
				<-ctx.Done()
				return justoneapi.Stat{}, timeoutError()
			}
			return instant(ctx, wmid)
		})
		c := newCollector(t, api, users(3))
		if got := scrape(c, 9*time.Second); got != 9*time.Second {
			t.Errorf("the first scrape took %v, want 9s", got)
		}
		got := gather(t, c.Snapshot(), "bilibili_followers")
		if !strings.Contains(got, `{wmid="1"} 10`) || !strings.Contains(got, `{wmid="3"} 30`) {
			t.Errorf("got %s, want the values of users 1 and 3", got)
		}
		got = gather(t, c.Snapshot(), "bilibili_up", "bilibili_api_requests_in_flight")
		if strings.Contains(got, `bilibili_up{wmid="2"}`) || !strings.Contains(got, "in_flight 1\n") {
			t.Errorf("got %s, want one request in flight and no result of user 2", got)
		}
		for range 5 {
			time.Sleep(10 * time.Second)
			if got := scrape(c, 9*time.Second); got != 0 {
				t.Errorf("a later scrape took %v, want 0s", got)
			}
		}
		time.Sleep(2 * time.Second) // the request has timed out after a minute
		got = gather(t, c.Snapshot(), "bilibili_up", "bilibili_last_error_info", "upstream_error_code")
		for _, want := range []string{
			`bilibili_up{wmid="2"} 0`, `{code="timeout",wmid="2"} 1`, `{code="timeout"} 1`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want it to contain %s", got, want)
			}
		}
		time.Sleep(14*time.Minute - 2*time.Second)
		scrape(c, 9*time.Second)
		if got := api.requests(2); got != 2 {
			t.Errorf("got %d requests for user 2 after 15 minutes, want 2", got)
		}
	})
}

// TestSharedRefresh has many concurrent scrapes: they share one refresh.
func TestSharedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Second))
		c := newCollector(t, api, users(8))
		var scrapes sync.WaitGroup
		for range 20 {
			scrapes.Go(func() {
				time.Sleep(rand.N(time.Second))
				scrape(c, 9*time.Second)
				if got := len(strings.Fields(exposedUsers(t, c))); got != 8 {
					t.Errorf("a scrape got %d values, want 8: it did not wait", got)
				}
			})
		}
		scrapes.Wait()
		if got := api.requests(0); got != 8 {
			t.Errorf("got %d requests for 8 users, want 8", got)
		}
	})
}

// TestLateUsersJoin has a user become due during a refresh: it joins the refresh at the next scrape.
func TestLateUsersJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(map[int64]time.Duration)
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			return after(slow[wmid])(ctx, wmid)
		})
		c := newCollector(t, api, users(2), func(config *collector.Config) { config.MaxRequestsPerSecond = 0.1 })
		scrape(c, time.Minute) // user 1 now, user 2 in 10 s
		slow[1] = 50 * time.Second
		time.Sleep(15*time.Minute - 10*time.Second)
		start := time.Now()
		scrape(c, 5*time.Second) // user 1, for 50 s
		time.Sleep(10 * time.Second)
		scrape(c, 5*time.Second) // user 2, without waiting for user 1
		synctest.Wait()
		if got := api.requests(2); got != 2 {
			t.Errorf("%v after the refresh started: got %d requests for user 2, want 2", time.Since(start), got)
		}
	})
}

// TestLongQueue has a queue that takes longer than a scrape: only the first scrape waits for it, and all users are
// requested.
func TestLongQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Second))
		c := newCollector(t, api, users(100))
		if got := scrape(c, 9*time.Second); got != 9*time.Second {
			t.Errorf("the first scrape took %v, want 9s", got)
		}
		time.Sleep(time.Second)
		if got := scrape(c, 9*time.Second); got != 0 {
			t.Errorf("the second scrape took %v, want 0s", got)
		}
		time.Sleep(40 * time.Second) // 100 requests, 4 at a time, 2 s each
		if got := api.requests(0); got != 100 {
			t.Errorf("got %d requests, want 100", got)
		}
		time.Sleep(time.Minute)
		if got := scrape(c, 9*time.Second); got != 0 {
			t.Errorf("a scrape without due users took %v, want 0s", got)
		}
	})
}

// TestScrapeAfterTimeout: after a scrape has timed out, or its client has disconnected, later scrapes do not wait for
// the same refresh.
func TestScrapeAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t, newFakeAPI(after(time.Hour)), users(1))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		c.Refresh(ctx)
		for i, want := range []time.Duration{0, 0, 0} {
			if got := scrape(c, 9*time.Second); got != want {
				t.Errorf("scrape %d took %v, want %v", i, got, want)
			}
		}
	})
}

func TestConcurrencyAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(5 * time.Second))
		c := newCollector(t, api, users(20), func(config *collector.Config) { config.MaxConcurrency = 3 })
		scrape(c, time.Hour)
		if api.maxInFlight != 3 {
			t.Errorf("got %d requests in flight at a time, want 3", api.maxInFlight)
		}
	})
	for _, test := range []struct {
		rate  float64
		burst int
	}{{0.5, 1}, {5, 1}, {9.9, 1}, {10, 1}, {40, 4}} {
		synctest.Test(t, func(t *testing.T) {
			api := newFakeAPI(instant)
			c := newCollector(t, api, users(50), func(config *collector.Config) {
				config.MaxRequestsPerSecond = test.rate
			})
			got := scrape(c, time.Hour)
			want := time.Duration(float64(50-test.burst) / test.rate * float64(time.Second))
			if diff := got - want; diff < -time.Microsecond || diff > time.Millisecond {
				t.Errorf("rate %v: 50 requests took %v, want %v", test.rate, got, want)
			}
		})
	}
}

// TestTimeoutsDoNotStarveOthers has more users whose requests time out than slots: they get at most half of the slots.
func TestTimeoutsDoNotStarveOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var timingOut, maxTimingOut int // requests in flight that will time out
		var mu sync.Mutex
		api := newFakeAPI(nil)
		api.respond = func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid%3 != 0 || wmid > 24 { // all but 8 users
				return instant(ctx, wmid)
			}
			mu.Lock()
			timingOut++
			maxTimingOut = max(maxTimingOut, timingOut)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			timingOut--
			mu.Unlock()
			return justoneapi.Stat{}, timeoutError()
		}
		c := newCollector(t, api, users(30), func(config *collector.Config) {
			// So slow that values arrive in between, because five timeouts in a row would be an outage.
			config.MaxConcurrency, config.MaxRequestsPerSecond = 5, 1
		})
		for range 10 { // until the first request for each user has finished
			scrape(c, 9*time.Second)
			time.Sleep(time.Minute)
		}
		time.Sleep(15 * time.Minute)
		reload(c, api, users(30), func(s *collector.Settings) { s.MaxConcurrency = 5 })
		before := api.requests(0)
		mu.Lock()
		maxTimingOut = 0
		mu.Unlock()
		scrape(c, 9*time.Second)
		if api.maxInFlight != 5 {
			t.Errorf("got %d requests in flight at a time, want 5", api.maxInFlight)
		}
		if got := api.requests(0) - before; got != 22+2 {
			t.Errorf("got %d requests, want 24: those for 22 healthy users and 2 that time out", got)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if maxTimingOut != 2 {
			t.Errorf("requests that time out took %d of 5 slots, want 2", maxTimingOut)
		}
	})
}

// TestTimeoutWithOneSlot: a user whose request timed out is requested again, even if there is only one slot.
func TestTimeoutWithOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Minute))
		c := newCollector(t, api, users(1), func(config *collector.Config) { config.MaxConcurrency = 1 })
		scrape(c, time.Hour)
		time.Sleep(15 * time.Minute)
		scrape(c, time.Hour)
		if got := api.requests(1); got != 2 {
			t.Errorf("got %d requests, want 2", got)
		}
	})
}

// TestQueueTimeout stops scraping while a long queue waits: requests stop 5 minutes after the last scrape.
func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(1000), func(config *collector.Config) { config.MaxRequestsPerSecond = 1 })
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.requests(0); got != 300 {
			t.Errorf("got %d requests, want 300: those of 5 minutes", got)
		}
		scrape(c, time.Second)
		time.Sleep(4 * time.Minute)
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.requests(0); got < 300+540 || got > 300+542 {
			t.Errorf("got %d requests, want 840: those of 9 minutes more", got)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a rate so low that the wait for the next request is longer than the timeout
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), func(config *collector.Config) { config.MaxRequestsPerSecond = 0.001 })
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.requests(0); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
	})
}

// TestLookAhead scrapes shortly before users are due: the scrape waits for them.
func TestLookAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(2))
		scrape(c, time.Second)
		time.Sleep(15*time.Minute - 700*time.Millisecond)
		if got := scrape(c, 9*time.Second); got != 700*time.Millisecond {
			t.Errorf("the scrape took %v, want 700ms", got)
		}
		for wmid := range int64(2) {
			if starts := api.started[wmid+1]; len(starts) != 2 || starts[1].Sub(starts[0]) != 15*time.Minute {
				t.Errorf("user %d: got requests at %v, want two, 15m apart", wmid+1, starts)
			}
		}
	})
}

// TestMostOverdueFirst checks the order of requests.
func TestMostOverdueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(5), func(config *collector.Config) {
			config.MaxConcurrency, config.MaxRequestsPerSecond = 1, 0.1
		})
		scrape(c, 25*time.Second) // users 1, 2, 3
		if got, want := api.takeOrder(), []int64{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("at first: got %v, want %v", got, want)
		}
		time.Sleep(15*time.Minute - 15*time.Second) // 4 and 5 were requested after the scrape; 1 and 2 are due
		scrape(c, 9*time.Second)
		if got, want := api.takeOrder(), []int64{4, 5, 1}; !slices.Equal(got, want) {
			t.Errorf("later: got %v, want %v", got, want)
		}
	})
}

// TestClose expects Close to wait for requests in flight and to record them, to start no others, and to cancel requests
// that take too long.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(20 * time.Second))
		c := newCollector(t, api, users(10))
		scrape(c, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		start := time.Now()
		c.Close(ctx)
		if got := time.Since(start); got != 19*time.Second {
			t.Errorf("closing took %v, want the remaining 19s of the requests in flight", got)
		}
		if got := len(strings.Fields(exposedUsers(t, c))); got != 4 || api.requests(0) != 4 {
			t.Errorf("got %d values from %d requests, want 4 and 4", got, api.requests(0))
		}
		if got := scrape(c, time.Minute); got != 0 || api.requests(0) != 4 {
			t.Errorf("a scrape of a closed collector took %v and sent %d requests, want neither", got, api.requests(0)-4)
		}
		c.Close(ctx)
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t, newFakeAPI(after(50*time.Second)), users(1))
		scrape(c, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		start := time.Now()
		c.Close(ctx)
		if got := time.Since(start); got != 25*time.Second {
			t.Errorf("closing took %v, want 25s", got)
		}
	})
}

// TestCloseStartsNoRequest closes the collector while a long queue is about to be filled and another scrape waits.
func TestCloseStartsNoRequest(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			api := newFakeAPI(after(2 * time.Second))
			c := newCollector(t, api, users(1000), func(config *collector.Config) {
				token := config.Token
				config.Token = func() justoneapi.Token {
					time.Sleep(100 * time.Millisecond)
					return token()
				}
			})
			go scrape(c, time.Second)
			time.Sleep(50 * time.Millisecond)
			go scrape(c, time.Second)
			time.Sleep(10 * time.Millisecond)
			c.Close(t.Context())
			if got := api.requests(0); got != 0 {
				t.Errorf("got %d requests after Close, want none", got)
			}
		})
	}
}

// TestCloseWhileTokenBlocks: Close returns although reading the token blocks, as on a broken network file system.
func TestCloseWhileTokenBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newCollector(t, newFakeAPI(instant), users(1), func(config *collector.Config) {
			config.Token = func() justoneapi.Token {
				<-release
				return justoneapi.Token{}
			}
		})
		if got := scrape(c, 9*time.Second); got != 9*time.Second {
			t.Errorf("the scrape took %v, want 9s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		start := time.Now()
		c.Close(ctx)
		if got := time.Since(start); got != 26*time.Second {
			t.Errorf("closing took %v, want 26s", got)
		}
		close(release)
	})
}

// TestScrapeWhileRefreshEnds has a scrape arrive while the refresh finds nothing left to do: the scrape is not lost.
func TestScrapeWhileRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads int
		c := newCollector(t, newFakeAPI(instant), users(1), func(config *collector.Config) {
			token := config.Token
			config.Token = func() justoneapi.Token {
				reads++
				time.Sleep(time.Second)
				return token()
			}
		})
		scrape(c, 9*time.Second)
		go scrape(c, 9*time.Second)
		time.Sleep(500 * time.Millisecond)
		if got := scrape(c, 9*time.Second); got != 1500*time.Millisecond || reads != 3 {
			t.Errorf("the scrape took %v and the token was read %d times, want 1.5s and 3", got, reads)
		}
	})
}

// TestRetries expects early retries, at doubling intervals, only after failures that are not billed.
func TestRetries(t *testing.T) {
	for name, test := range map[string]struct {
		response justoneapitest.Response
		want     int // requests in 15 minutes of scrapes every 10 s
	}{
		"301":                  {justoneapitest.Code(301, ""), 5}, // at 0, 1, 3, 7 and 15 minutes
		"perhaps billed":       {justoneapitest.Code(503, ""), 2},
		"invalid token":        {justoneapitest.Code(100, ""), 3}, // at 0, 5 and 15 minutes
		"rate limit":           {justoneapitest.Code(302, ""), 5}, // at 0, 0.5, 1.5, 3.5 and 7.5 minutes
		"connection lost":      {justoneapitest.CutBefore(), 2},
		"the user's own error": {justoneapitest.BilibiliCode(-404, ""), 1},
		"success":              {justoneapitest.Stat(justoneapitest.Constant(1), 1), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := newPipeAPI(t, test.response)
				c := newCollector(t, client, users(1))
				for range 15*6 + 1 {
					scrape(c, 9*time.Second)
					time.Sleep(10 * time.Second)
				}
				if got := server.Tally(1).Requests; got != test.want {
					t.Errorf("got %d requests, want %d", got, test.want)
				}
			})
		})
	}
}
