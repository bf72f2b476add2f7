package collector_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// failing fails every request with an error of the given kind.
func failing(kind justoneapi.Kind) func(context.Context, int64) (justoneapi.Stat, error) {
	return func(context.Context, int64) (justoneapi.Stat, error) {
		return justoneapi.Stat{}, &justoneapi.Error{Kind: kind}
	}
}

// TestMetrics compares the whole exposition with golden files, after scrapes with different API responses.
func TestMetrics(t *testing.T) {
	noSuchUser := justoneapi.Kind{Code: "-404", Scope: justoneapi.ScopeUser, Billing: justoneapi.Billed}
	users := []collector.User{
		{WMID: 472747194, Name: "472747194"},
		{WMID: 2, Name: `碧诗 "the" \ first`, Labels: map[string]string{"agency": "none"}},
		{WMID: 3546564939877816, Name: "new\nline", Labels: map[string]string{"Tier": "a", "agency": ""}},
	}
	tests := []struct {
		name  string
		steps func(c *collector.Collector, api *fakeAPI)
	}{
		{"before", func(*collector.Collector, *fakeAPI) {}},
		{"success", func(c *collector.Collector, _ *fakeAPI) {
			scrape(c, 9*time.Second)
		}},
		{"failure", func(c *collector.Collector, api *fakeAPI) {
			api.respond = failing(noSuchUser)
			scrape(c, 9*time.Second)
		}},
		{"failure-after-success", func(c *collector.Collector, api *fakeAPI) {
			scrape(c, 9*time.Second)
			time.Sleep(15 * time.Minute)
			api.respond = func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
				if wmid == 2 {
					return failing(noSuchUser)(ctx, wmid)
				}
				return instant(ctx, wmid)
			}
			scrape(c, 9*time.Second)
		}},
		{"expired", func(c *collector.Collector, api *fakeAPI) {
			scrape(c, 9*time.Second)
			api.respond = failing(justoneapi.Kind{Code: "500", Billing: justoneapi.NotBilled})
			time.Sleep(24*time.Hour + time.Nanosecond)
			scrape(c, 9*time.Second)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newFakeAPI(instant)
				c := newCollector(t, api, users)
				test.steps(c, api)
				expectMetrics(t, c.Snapshot(), test.name+".metrics")
			})
		})
	}
}

// TestMaxAge expects values to expire after max_age, or after 3 × the effective interval if that is longer, and the
// time of the last success never.
func TestMaxAge(t *testing.T) {
	for _, test := range []struct {
		maxAge, want time.Duration
	}{
		{24 * time.Hour, 24 * time.Hour},
		{30 * time.Minute, 45 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCollector(t, newFakeAPI(instant), users(1), func(config *collector.Config) {
				config.MaxAge = test.maxAge
			})
			scrape(c, time.Second)
			values := func() string { return gather(t, c.Snapshot(), "bilibili_followers", "bilibili_following") }
			time.Sleep(test.want)
			if got := values(); strings.Count(got, "\nbilibili_") != 2 {
				t.Errorf("max_age %v: after %v, got values %q, want 2", test.maxAge, test.want, got)
			}
			time.Sleep(time.Nanosecond)
			if got := values(); got != "" {
				t.Errorf("max_age %v: after more than %v, got values %q, want none", test.maxAge, test.want, got)
			}
			if got := gather(t, c.Snapshot(), "bilibili_last_success_timestamp_seconds"); got == "" {
				t.Errorf("max_age %v: the time of the last success has expired", test.maxAge)
			}
		})
	}
}

// TestCollect uses the collector in a registry without the HTTP handler.
func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(3 * time.Second))
		c := newCollector(t, api, users(2))
		got := gather(t, c, "bilibili_followers")
		want := "# HELP bilibili_followers Number of followers, cached by the exporter between requests.\n" +
			"# TYPE bilibili_followers gauge\n" +
			"bilibili_followers{wmid=\"1\"} 10\nbilibili_followers{wmid=\"2\"} 20\n"
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		gather(t, c)
		if got := api.requests(0); got != 2 {
			t.Errorf("got %d requests for 2 users within their interval, want 2", got)
		}
		if gather(t, c.Snapshot()) == "" {
			t.Error("the snapshot is empty")
		}
		if got := api.requests(0); got != 2 {
			t.Errorf("got %d requests for a snapshot, want none", got-2)
		}
	})
}

// TestSnapshotSendsNoRequests registers and gathers the snapshot of a new collector.
func TestSnapshotSendsNoRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		gather(t, newCollector(t, api, users(3)).Snapshot())
		if got := api.requests(0); got != 0 {
			t.Errorf("got %d requests, want none", got)
		}
	})
}

// TestManyCodes expects the number of distinct error codes in the exposition to be limited.
func TestManyCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		api := newFakeAPI(func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
			n++
			return failing(justoneapi.Kind{Code: fmt.Sprint(1000 + n)})(ctx, wmid)
		})
		c := newCollector(t, api, users(1))
		for range 200 {
			scrape(c, time.Second)
			time.Sleep(15 * time.Minute)
		}
		got := gather(t, c.Snapshot(), "upstream_error_code")
		if series := strings.Count(got, "\nupstream_error_code{"); series != 101 {
			t.Errorf("got %d series, want 101: 100 codes and \"other\"", series)
		}
		if want := `upstream_error_code{code="other"} 137`; !strings.Contains(got, want) {
			t.Errorf("got %s, want it to contain %s", got, want)
		}
		if got := gather(t, c.Snapshot(), "bilibili_last_error_info"); !strings.Contains(got, `code="1200"`) {
			t.Errorf("got %s, want the user's last code", got)
		}
	})
}
