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

// failing answers every call with an error of the given kind.
func failing(kind justoneapi.Kind) func(context.Context, int64) (justoneapi.Stat, error) {
	return func(context.Context, int64) (justoneapi.Stat, error) {
		return justoneapi.Stat{}, &justoneapi.Error{Kind: kind}
	}
}

// TestMetrics compares all that is exposed with golden files, after scrapes
// that the API answers in different ways.
func TestMetrics(t *testing.T) {
	noSuchUser := justoneapi.Kind{Code: "-404", Scope: justoneapi.ScopeUser, Billing: justoneapi.Billed}
	three := []collector.User{
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
			api.answer = failing(noSuchUser)
			scrape(c, 9*time.Second)
		}},
		{"failure-after-success", func(c *collector.Collector, api *fakeAPI) {
			scrape(c, 9*time.Second)
			time.Sleep(15 * time.Minute)
			api.answer = func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
				if wmid == 2 {
					return failing(noSuchUser)(ctx, wmid)
				}
				return instant(ctx, wmid)
			}
			scrape(c, 9*time.Second)
		}},
		{"too-old", func(c *collector.Collector, api *fakeAPI) {
			scrape(c, 9*time.Second)
			api.answer = failing(justoneapi.Kind{Code: "500", Billing: justoneapi.NotBilled})
			time.Sleep(24*time.Hour + time.Nanosecond)
			scrape(c, 9*time.Second)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newFakeAPI(instant)
				c := newCollector(t, api, three)
				test.steps(c, api)
				expectMetrics(t, c.Snapshot(), test.name+".metrics")
			})
		})
	}
}

// TestMaxAge shows values up to max_age, or to 3 × the interval in force if
// that is longer, and the time of the last success for ever.
func TestMaxAge(t *testing.T) {
	for _, test := range []struct {
		maxAge, want time.Duration
	}{
		{24 * time.Hour, 24 * time.Hour},
		{30 * time.Minute, 45 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCollector(t, newFakeAPI(instant), users(1), func(config *collector.Config) { config.MaxAge = test.maxAge })
			scrape(c, time.Second)
			time.Sleep(test.want)
			if got := gather(t, c.Snapshot(), "bilibili_followers", "bilibili_following"); strings.Count(got, "\nbilibili_") != 2 {
				t.Errorf("max_age %v: after %v the values are gone", test.maxAge, test.want)
			}
			time.Sleep(time.Nanosecond)
			if got := gather(t, c.Snapshot(), "bilibili_followers", "bilibili_following"); got != "" {
				t.Errorf("max_age %v: after more than %v there still is %s", test.maxAge, test.want, got)
			}
			if got := gather(t, c.Snapshot(), "bilibili_last_success_timestamp_seconds"); got == "" {
				t.Error("the time of the last success is gone")
			}
		})
	}
}

// TestCollect lets the collector work in any registry, without its handler.
func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(after(3 * time.Second))
		c := newCollector(t, api, users(2))
		got := gather(t, c, "bilibili_followers")
		if want := "# HELP bilibili_followers Number of followers, cached by the exporter between requests.\n" +
			"# TYPE bilibili_followers gauge\nbilibili_followers{wmid=\"1\"} 10\nbilibili_followers{wmid=\"2\"} 20\n"; got != want {
			t.Errorf("got %s", got)
		}
		gather(t, c)
		if got := api.calls(0); got != 2 {
			t.Errorf("got %d calls for 2 users within their interval", got)
		}
		if got := api.calls(0); gather(t, c.Snapshot()) == "" || got != 2 {
			t.Errorf("got %d calls, want none for the cached view", got)
		}
	})
}

// TestDescribeCallsNobody registers the collector, which must not cost.
func TestDescribeCallsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(instant)
		gather(t, newCollector(t, api, users(3)).Snapshot())
		if got := api.calls(0); got != 0 {
			t.Errorf("got %d calls", got)
		}
	})
}

// TestManyCodes keeps hostile codes from growing the exposition without end.
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
			t.Errorf("got %d series, want 100 and other", series)
		}
		if want := `upstream_error_code{code="other"} 125`; !strings.Contains(got, want) {
			t.Errorf("want %s in %s", want, got)
		}
		if got := gather(t, c.Snapshot(), "bilibili_last_error_info"); !strings.Contains(got, `code="1200"`) {
			t.Errorf("the user's last code is not shown: %s", got)
		}
	})
}
