package collector_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/refresh"
)

// reload reloads a collector with the usual settings for the users, modified by the given functions.
func reload(c *collector.Collector, api refresh.API, users []collector.User, changes ...func(*collector.Settings)) {
	settings := settingsFor(api, users)
	for _, change := range changes {
		change(&settings)
	}
	c.Reload(settings, limitsFor(users))
}

// exposedUsers returns the WMIDs of the users whose values a collector exposes.
func exposedUsers(t *testing.T, c *collector.Collector) string {
	t.Helper()
	var wmids []string
	for line := range strings.Lines(gather(t, c.Snapshot(), "bilibili_followers")) {
		if _, rest, ok := strings.Cut(line, `wmid="`); ok {
			wmid, _, _ := strings.Cut(rest, `"`)
			wmids = append(wmids, wmid)
		}
	}
	return strings.Join(wmids, " ")
}

// TestReload expects remaining users to keep their values, removed users to disappear at once, and new users to be
// requested at the next scrape. Names and labels change.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, []collector.User{
			{WMID: 1, Name: "a"},
			{WMID: 2, Name: "b", Labels: map[string]string{"agency": "x"}},
		})
		before := c.Snapshot()
		scrape(c, time.Second)
		reload(c, api, []collector.User{
			{WMID: 2, Name: "b2", Labels: map[string]string{"team": "y"}},
			{WMID: 3, Name: "c"},
		})
		if got := exposedUsers(t, c); got != "2" {
			t.Errorf("after the reload: got values of users %s, want 2", got)
		}
		if got := gather(t, before, "bilibili_followers"); strings.Contains(got, `"1"`) {
			t.Errorf("a snapshot from before the reload exposes the removed user: %s", got)
		}
		scrape(c, time.Second)
		want := "# HELP bilibili_user_info Name and labels of the user, from the configuration; always 1.\n" +
			"# TYPE bilibili_user_info gauge\n" +
			"bilibili_user_info{name=\"b2\",team=\"y\",wmid=\"2\"} 1\nbilibili_user_info{name=\"c\",team=\"\",wmid=\"3\"} 1\n"
		if got := gather(t, c.Snapshot(), "bilibili_user_info"); got != want || exposedUsers(t, c) != "2 3" {
			t.Errorf("got %s and values of users %s, want %s and 2 3", got, exposedUsers(t, c), want)
		}
		reload(c, api, users(3)) // user 1 returns within its interval
		scrape(c, time.Second)
		if got := exposedUsers(t, c); got != "1 2 3" || api.requests(0) != 3 {
			t.Errorf("got values of users %s and %d requests, want 1 2 3 and 3", got, api.requests(0))
		}
	})
}

// TestReloadInFlight reloads while requests are in flight: the responses are kept for remaining and for removed users.
func TestReloadInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(5 * time.Second))
		c := newCollector(t, api, users(2))
		scrape(c, time.Second)
		reload(c, newFakeAPI(instant), users(3)[1:])
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := exposedUsers(t, c); got != "2" {
			t.Errorf("got values of users %s, want 2", got)
		}
		reload(c, api, users(2))
		if got := exposedUsers(t, c); got != "1 2" || api.requests(0) != 2 {
			t.Errorf("got values of users %s and %d requests, want 1 2 and 2", got, api.requests(0))
		}
	})
}

// TestReloadQueue reloads while users wait in the queue: remaining users are requested with the new settings, removed
// users are not requested.
func TestReloadQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newFakeAPI(after(10*time.Second)), newFakeAPI(after(10*time.Second))
		c := newCollector(t, before, users(8)) // 4 at a time
		scrape(c, time.Second)
		reload(c, after, users(7), func(s *collector.Settings) { s.MaxConcurrency = 1 })
		time.Sleep(9500 * time.Millisecond) // the first four have finished
		synctest.Wait()
		if got := before.requests(0); got != 4 {
			t.Errorf("got %d requests with the old settings, want 4", got)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if after.requests(0) != 3 || after.requests(8) != 0 || after.maxInFlight != 1 {
			t.Errorf("got %d requests with the new settings, %d for user 8, %d at a time; want 3, 0 and 1",
				after.requests(0), after.requests(8), after.maxInFlight)
		}
	})
}

// tokenAPI accepts a single token.
type tokenAPI struct {
	fixedBalance
	latency time.Duration

	mu    sync.Mutex // protects the following field
	valid justoneapi.Token
}

func (a *tokenAPI) RelationStat(ctx context.Context, token justoneapi.Token, wmid int64) (justoneapi.Stat, error) {
	a.mu.Lock()
	valid := a.valid
	a.mu.Unlock()
	time.Sleep(a.latency)
	if token.Equal(valid) {
		return instant(ctx, wmid)
	}
	return failing(justoneapi.Explain("100", false))(ctx, wmid)
}

// TestReloadToken expects a new token to lift a pause at once, without a scrape. Refusals of requests that were sent
// with the old token are ignored.
func TestReloadToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{valid: justoneapi.NewToken("new")}
		c := newCollector(t, api, users(2))
		paused := func() bool {
			return strings.Contains(gather(t, c.Snapshot(), "bilibili_api_paused"), `reason="token"} 1`)
		}
		scrape(c, time.Second)
		if !paused() {
			t.Fatal("want a pause: the token is wrong")
		}
		reload(c, api, users(2))
		if !paused() {
			t.Error("a reload with the same token lifts the pause")
		}
		withToken := func(token string) func(*collector.Settings) {
			return func(s *collector.Settings) {
				s.Token = func() justoneapi.Token { return justoneapi.NewToken(token) }
			}
		}
		reload(c, api, users(2), withToken("new"))
		if paused() {
			t.Error("a new token does not lift the pause")
		}
		scrape(c, time.Second)
		if got := exposedUsers(t, c); got != "1 2" {
			t.Errorf("got values of users %q, want 1 2", got)
		}

		time.Sleep(15 * time.Minute)
		api.latency, api.valid = 5*time.Second, justoneapi.NewToken("newer")
		scrape(c, time.Second)
		reload(c, api, users(2), withToken("newer"))
		time.Sleep(5 * time.Second) // the requests with the old token are refused
		synctest.Wait()
		if paused() {
			t.Error("a refusal of the old token causes a pause")
		}
	})
}

// TestReloadRate expects requests at the new rate.
func TestReloadRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(20))
		reload(c, api, users(20), func(s *collector.Settings) { s.MaxRequestsPerSecond = 1 })
		time.Sleep(time.Minute)
		scrape(c, time.Nanosecond)
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		if got := api.requests(0); got != 10 {
			t.Errorf("got %d requests in 9.5 s at 1 per second, want 10", got)
		}
	})
}
