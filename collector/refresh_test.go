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

// TestDay lets two Prometheus servers scrape for a day, every minute each and
// with the jitter of real ones, through the real client and a real HTTP
// exchange, and counts the requests on the wire: 96 for each user.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Latency(2*time.Second, justoneapitest.Stat(justoneapitest.Constant(7), 1)))
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

// TestHang lets one user of three hang: the scrape that begins the call is
// slow, no other is, the other users stay fresh, and the user is asked about
// again after its interval only.
func TestHang(t *testing.T) {
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
			t.Errorf("the first scrape took %v, want its 9s", got)
		}
		if got := gather(t, c.Snapshot(), "bilibili_followers"); !strings.Contains(got, `{wmid="1"} 10`) || !strings.Contains(got, `{wmid="3"} 30`) {
			t.Errorf("the other users lack their values: %s", got)
		}
		if got := gather(t, c.Snapshot(), "bilibili_up", "bilibili_api_requests_in_flight"); strings.Contains(got, `bilibili_up{wmid="2"}`) || !strings.Contains(got, "in_flight 1\n") {
			t.Errorf("want one call in flight and no result: %s", got)
		}
		for range 5 {
			time.Sleep(10 * time.Second)
			if got := scrape(c, 9*time.Second); got != 0 {
				t.Errorf("a later scrape took %v", got)
			}
		}
		time.Sleep(2 * time.Second) // the call has timed out after a minute
		if got := gather(t, c.Snapshot(), "bilibili_up", "bilibili_last_error_info", "upstream_error_code"); !strings.Contains(got, `bilibili_up{wmid="2"} 0`) ||
			!strings.Contains(got, `{code="timeout",wmid="2"} 1`) || !strings.Contains(got, `{code="timeout"} 1`) {
			t.Errorf("want a timeout: %s", got)
		}
		time.Sleep(14*time.Minute - 2*time.Second)
		scrape(c, 9*time.Second)
		if got := api.calls(2); got != 2 {
			t.Errorf("got %d calls for the hanging user after 15 minutes, want 2", got)
		}
	})
}

// TestSharedRefresh lets many scrapes come at once.
func TestSharedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Second))
		c := newCollector(t, api, users(8))
		var scrapes sync.WaitGroup
		for range 20 {
			scrapes.Go(func() {
				time.Sleep(rand.N(time.Second))
				scrape(c, 9*time.Second)
				if got := strings.Count(gather(t, c.Snapshot(), "bilibili_followers"), "\nbilibili_followers{"); got != 8 {
					t.Errorf("a scrape did not wait: it shows %d values", got)
				}
			})
		}
		scrapes.Wait()
		if got := api.calls(0); got != 8 {
			t.Errorf("got %d calls for 8 users", got)
		}
	})
}

// TestLateUsersJoin makes users due while a refresh runs: they join it at the
// next scrape.
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
		scrape(c, 5*time.Second) // which does not wait for it
		synctest.Wait()
		if got := api.calls(2); got != 2 {
			t.Errorf("%v after the refresh began, user 2 has had %d calls, want 2", time.Since(start), got)
		}
	})
}

// TestNotWaitedForTwice has a queue that is longer than a scrape: it makes one
// slow scrape, and is worked off all the same.
func TestNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Second))
		c := newCollector(t, api, users(100))
		if got := scrape(c, 9*time.Second); got != 9*time.Second {
			t.Errorf("the first scrape took %v", got)
		}
		time.Sleep(time.Second)
		if got := scrape(c, 9*time.Second); got != 0 {
			t.Errorf("the second scrape took %v", got)
		}
		time.Sleep(40 * time.Second) // 100 calls, 4 at a time, 2 s each
		if got := api.calls(0); got != 100 {
			t.Errorf("got %d calls, want 100", got)
		}
		time.Sleep(time.Minute)
		if got := scrape(c, 9*time.Second); got != 0 {
			t.Errorf("a scrape without work took %v", got)
		}
	})
}

// TestAbandoned: a scrape that times out makes the next ones not wait; one whose client hangs up does not.
func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t, newFakeAPI(after(time.Hour)), users(1))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		c.Refresh(ctx)
		for i, want := range []time.Duration{9 * time.Second, 0, 0} {
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
		if api.most != 3 {
			t.Errorf("got %d calls at a time, want 3", api.most)
		}
	})
	for _, test := range []struct {
		rate  float64
		burst int
	}{{0.5, 1}, {5, 1}, {9.9, 1}, {10, 1}, {40, 4}} {
		synctest.Test(t, func(t *testing.T) {
			api := newFakeAPI(instant)
			c := newCollector(t, api, users(50), func(config *collector.Config) { config.MaxRequestsPerSecond = test.rate })
			got := scrape(c, time.Hour)
			want := time.Duration(float64(50-test.burst) / test.rate * float64(time.Second))
			if diff := got - want; diff < -time.Microsecond || diff > time.Millisecond {
				t.Errorf("rate %v: 50 calls took %v, want %v", test.rate, got, want)
			}
		})
	}
}

// TestHangingUsersStarveNobody has more hanging users than slots.
func TestHangingUsersStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging, most int
		var mu sync.Mutex
		api := newFakeAPI(nil)
		api.answer = func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			if wmid > 10 {
				return instant(ctx, wmid)
			}
			mu.Lock()
			hanging++
			most = max(most, hanging)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			hanging--
			mu.Unlock()
			return justoneapi.Stat{}, timeoutError()
		}
		c := newCollector(t, api, users(30), func(config *collector.Config) { config.MaxConcurrency = 5 })
		for range 10 { // nobody is known to hang yet
			scrape(c, 9*time.Second)
			time.Sleep(time.Minute)
		}
		time.Sleep(15 * time.Minute)
		before := api.calls(0)
		mu.Lock()
		most = 0
		mu.Unlock()
		scrape(c, 9*time.Second)
		if api.most != 5 {
			t.Errorf("got %d calls at a time, want 5", api.most)
		}
		if got := api.calls(0) - before; got != 20+2 {
			t.Errorf("got %d calls, want those of 20 healthy users and of 2 hanging ones", got)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 2 {
			t.Errorf("got %d hanging calls at a time, want 2 of 5 slots", most)
		}
	})
}

// TestOneSlotForHangingUsers: they are asked about, even if there is but one.
func TestOneSlotForHangingUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(2 * time.Minute))
		c := newCollector(t, api, users(1), func(config *collector.Config) { config.MaxConcurrency = 1 })
		scrape(c, time.Hour)
		time.Sleep(15 * time.Minute)
		scrape(c, time.Hour)
		if got := api.calls(1); got != 2 {
			t.Errorf("got %d calls, want 2", got)
		}
	})
}

// TestPatience stops the scrapes while a long queue waits.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(1000), func(config *collector.Config) { config.MaxRequestsPerSecond = 1 })
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.calls(0); got != 300 {
			t.Errorf("got %d calls, want those of 5 minutes, 300", got)
		}
		scrape(c, time.Second)
		time.Sleep(4 * time.Minute)
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.calls(0); got < 300+540 || got > 300+542 {
			t.Errorf("got %d calls, want those of 9 minutes more, 840", got)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a rate so low that its timer outlasts patience
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(3), func(config *collector.Config) { config.MaxRequestsPerSecond = 0.001 })
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := api.calls(0); got != 1 {
			t.Errorf("got %d calls, want 1", got)
		}
	})
}

// TestLookAhead scrapes a moment before users are due.
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
				t.Errorf("user %d: got calls at %v, want two, 15m apart", wmid+1, starts)
			}
		}
	})
}

// TestMostOverdueFirst looks at the order of calls.
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
		time.Sleep(15*time.Minute - 15*time.Second) // 4 and 5 have had their turn without a scraper; 1 and 2 are due
		scrape(c, 9*time.Second)
		if got, want := api.takeOrder(), []int64{4, 5, 1}; !slices.Equal(got, want) {
			t.Errorf("later: got %v, want %v", got, want)
		}
	})
}

// TestClose waits for a running call and records it, begins no other, and cuts
// what takes too long.
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
			t.Errorf("closing took %v, want the 19s that calls still ran", got)
		}
		if got := strings.Count(gather(t, c.Snapshot(), "bilibili_followers"), "\nbilibili_followers{"); got != 4 || api.calls(0) != 4 {
			t.Errorf("got %d values of %d calls, want 4 and 4", got, api.calls(0))
		}
		if got := scrape(c, time.Minute); got != 0 || api.calls(0) != 4 {
			t.Errorf("a scrape of a closed collector took %v and made %d calls", got, api.calls(0)-4)
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

// TestCloseBeginsNothing closes the collector while a long queue is about to be
// filled, and one more scrape waits.
func TestCloseBeginsNothing(t *testing.T) {
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
			if got := api.calls(0); got != 0 {
				t.Errorf("%d calls began after Close", got)
			}
		})
	}
}

// TestCloseWithHangingToken: a file system that hangs does not keep the process.
func TestCloseWithHangingToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newCollector(t, newFakeAPI(instant), users(1), func(config *collector.Config) {
			config.Token = func() justoneapi.Token {
				<-release
				return justoneapi.Token{}
			}
		})
		if got := scrape(c, 9*time.Second); got != 9*time.Second {
			t.Errorf("the scrape took %v", got)
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

// TestScrapeDuringTheLastStep has a scrape come when the refresh believes to
// have nothing left to do: it is not lost.
func TestScrapeDuringTheLastStep(t *testing.T) {
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

// TestUnbilledFailureIsRetried and, doubled, again; what may be billed is not.
func TestUnbilledFailureIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		answer justoneapitest.Response
		want   int // requests in 15 minutes of scrapes every 10 s
	}{
		"301":              {justoneapitest.Code(301, ""), 5}, // at 0, 1, 3, 7 and 15 minutes
		"perhaps billed":   {justoneapitest.Code(503, ""), 2},
		"dead token":       {justoneapitest.Code(100, ""), 3}, // at 0, 5 and 15 minutes
		"rate limit":       {justoneapitest.Code(302, ""), 5}, // at 0, 0.5, 1.5, 3.5 and 7.5 minutes
		"cut":              {justoneapitest.CutBefore(), 2},
		"the user's error": {justoneapitest.BilibiliCode(-404, ""), 1},
		"success":          {justoneapitest.Stat(justoneapitest.Constant(1), 1), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := newPipeAPI(t, test.answer)
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
