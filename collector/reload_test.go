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

// reload gives a collector other users, and settings that change may change.
func reload(c *collector.Collector, api refresh.API, users []collector.User, change ...func(*collector.Settings)) {
	settings := settingsFor(api, users)
	for _, change := range change {
		change(&settings)
	}
	c.Reload(settings, limitsFor(users))
}

// follow returns the users whose values a collector shows.
func follow(t *testing.T, c *collector.Collector) string {
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

// TestReload keeps what is known of users who stay, forgets those who go, at
// once, and has new ones due at the next scrape. Names and labels change.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, []collector.User{{WMID: 1, Name: "a"}, {WMID: 2, Name: "b", Labels: map[string]string{"agency": "x"}}})
		before := c.Snapshot()
		scrape(c, time.Second)
		reload(c, api, []collector.User{{WMID: 2, Name: "b2", Labels: map[string]string{"team": "y"}}, {WMID: 3, Name: "c"}})
		if got := follow(t, c); got != "2" {
			t.Errorf("after the reload got values of %s, want 2", got)
		}
		if got := gather(t, before, "bilibili_followers"); strings.Contains(got, `"1"`) {
			t.Errorf("a view of before shows who has gone: %s", got)
		}
		scrape(c, time.Second)
		want := "# HELP bilibili_user_info Name and labels of the user, from the configuration; always 1.\n# TYPE bilibili_user_info gauge\n" +
			"bilibili_user_info{name=\"b2\",team=\"y\",wmid=\"2\"} 1\nbilibili_user_info{name=\"c\",team=\"\",wmid=\"3\"} 1\n"
		if got := gather(t, c.Snapshot(), "bilibili_user_info"); got != want || follow(t, c) != "2 3" {
			t.Errorf("got %s, and values of %s", got, follow(t, c))
		}
		reload(c, api, users(3)) // 1 comes back, within its interval
		scrape(c, time.Second)
		if got := follow(t, c); got != "1 2 3" || api.calls(0) != 3 {
			t.Errorf("got values of %s and %d calls, want 3 and 3", got, api.calls(0))
		}
	})
}

// TestReloadWhileCallsRun loses no answer, neither of who stays nor of who goes.
func TestReloadWhileCallsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(5 * time.Second))
		c := newCollector(t, api, users(2))
		scrape(c, time.Second)
		reload(c, newFakeAPI(instant), users(3)[1:])
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := follow(t, c); got != "2" {
			t.Errorf("got values of %s, want 2", got)
		}
		reload(c, api, users(2))
		if got := follow(t, c); got != "1 2" || api.calls(0) != 2 {
			t.Errorf("got values of %s and %d calls, want those of both from 2 calls", got, api.calls(0))
		}
	})
}

// TestReloadQueue: who waits for a turn, and stays, is called by the new
// settings; who goes is not called.
func TestReloadQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newFakeAPI(after(10*time.Second)), newFakeAPI(after(10*time.Second))
		c := newCollector(t, before, users(8)) // 4 at a time
		scrape(c, time.Second)
		reload(c, after, users(7), func(s *collector.Settings) { s.MaxConcurrency = 1 })
		time.Sleep(9500 * time.Millisecond) // the four have ended
		synctest.Wait()
		if got := before.calls(0); got != 4 {
			t.Errorf("got %d calls by the settings of before, want 4", got)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if after.calls(0) != 3 || after.calls(8) != 0 || after.most != 1 {
			t.Errorf("got %d calls by the new settings, %d for user 8, %d at a time; want 3, 0 and 1", after.calls(0), after.calls(8), after.most)
		}
	})
}

// tokenAPI knows a single token, and takes its time.
type tokenAPI struct {
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
	kind := justoneapi.Explain("100", false)
	return justoneapi.Stat{}, &justoneapi.Error{Kind: kind}
}

// TestReloadToken lifts a pause at once, without a scrape; what is refused to
// calls with the token of before is no news.
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
		withNew := func(s *collector.Settings) { s.Token = func() justoneapi.Token { return justoneapi.NewToken("new") } }
		reload(c, api, users(2), withNew)
		if paused() {
			t.Error("a new token does not lift the pause")
		}
		scrape(c, time.Second)
		if got := follow(t, c); got != "1 2" {
			t.Errorf("got values of %q, want both", got)
		}

		time.Sleep(15 * time.Minute)
		api.latency, api.valid = 5*time.Second, justoneapi.NewToken("newer")
		scrape(c, time.Second)
		reload(c, api, users(2), func(s *collector.Settings) {
			s.Token = func() justoneapi.Token { return justoneapi.NewToken("newer") }
		})
		time.Sleep(5 * time.Second) // the calls of before are refused
		synctest.Wait()
		if paused() {
			t.Error("a refusal of the token of before pauses the new one")
		}
	})
}

// TestReloadRate has calls begin at another rate.
func TestReloadRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		c := newCollector(t, api, users(20))
		reload(c, api, users(20), func(s *collector.Settings) { s.MaxRequestsPerSecond = 1 })
		time.Sleep(time.Minute)
		scrape(c, time.Nanosecond)
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		if got := api.calls(0); got != 10 {
			t.Errorf("got %d calls in 9.5 s at 1 in a second, want 10", got)
		}
	})
}
