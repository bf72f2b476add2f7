package collector_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// Tests of what is paid for: outage pauses, refunds, Retry-After and the balance. They use the real client.

// scrapeFor scrapes every 10 s for the duration, and calls each after every scrape.
func scrapeFor(c *collector.Collector, duration time.Duration, each func()) {
	for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(10 * time.Second) {
		scrape(c, 9*time.Second)
		each()
	}
}

// expectLines expects the exposition of the named metrics to contain lines.
func expectLines(t *testing.T, c *collector.Collector, names []string, lines ...string) {
	t.Helper()
	got := gather(t, c.Snapshot(), names...)
	for _, line := range lines {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("got\n%s\nwant it to contain %s", got, line)
		}
	}
}

var pauseNames = []string{"bilibili_api_paused", "bilibili_api_resume_timestamp_seconds"}

// TestOutagePause has an outage of two hours: after five failures one request probes after each pause, and everyone due
// is requested when a probe succeeds. A failure of Bilibili backs no user off.
func TestOutagePause(t *testing.T) {
	for name, response := range map[string]justoneapitest.Response{
		"Bilibili's -503":      justoneapitest.BilibiliCode(-503, "overload"),
		"undocumented code":    justoneapitest.BilibiliCode(-31415, ""),
		"collection failed":    justoneapitest.Code(301, ""),
		"gateway":              justoneapitest.Body(502, "text/html", "Bad Gateway"),
		"connections are cut":  justoneapitest.CutBefore(),
		"the format has moved": justoneapitest.Data(`{"code":0,"stat":{}}`),
		"timeouts":             justoneapitest.Hang(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 40
				well := justoneapitest.Latency(100*time.Millisecond, justoneapitest.Stat(justoneapitest.Constant(7), 1))
				server, client := newPipeAPI(t, well)
				c := newCollector(t, client, users(n))
				scrape(c, 9*time.Second)
				time.Sleep(15 * time.Minute)

				server.SetAll(justoneapitest.Latency(time.Second, response))
				before := server.Total().Requests
				var starts []time.Time // of the requests during the outage
				scrapeFor(c, 2*time.Hour, func() {
					synctest.Wait()
					for range server.Total().Requests - before - len(starts) {
						starts = append(starts, time.Now())
					}
				})
				// Four at a time until the fifth failure, then after 1, 2, 4, 8, 10, 10 … minutes.
				if got := len(starts); got < 5+14 || got > 8+16 {
					t.Errorf("got %d requests in 2 h, at %v, want about 22", got, starts)
				}
				probes := starts[8:]
				for i, want := range []time.Duration{2, 4, 8, 10, 10, 10, 10, 10} {
					most := want*time.Minute + 72*time.Second // a probe may take a minute, and the scrape arrives 10 s later
					if got := probes[i+1].Sub(probes[i]); got < want*time.Minute-10*time.Second || got > most {
						t.Errorf("probe %d came after %v, want %v to %v", i+1, got, want*time.Minute, most)
					}
				}
				expectLines(t, c, pauseNames, `bilibili_api_paused{reason="outage"} 1`)
				for _, user := range c.Snapshot().Users() {
					if user.State.MinInterval < user.State.Interval {
						t.Fatalf("the outage backs off user %d to %v", user.User.WMID, user.State.Interval)
					}
				}

				server.SetAll(well)
				end, total := time.Now(), server.Total().Requests
				scrapeFor(c, 12*time.Minute, func() {})
				if got := server.Total().Requests - total; got < n {
					t.Errorf("got %d requests after the outage, want one for each of %d users", got, n)
				}
				for _, user := range c.Snapshot().Users() {
					if got := user.State.Value.At; got.Before(end) {
						t.Errorf("user %d has no value from after the outage", user.User.WMID)
					}
				}
				expectLines(t, c, pauseNames, `bilibili_api_paused{reason="outage"} 0`, "bilibili_api_resume_timestamp_seconds 0")
			})
		})
	}
}

// TestOutagePauseEnds probes with one request, and requests all users in the same refresh once it has succeeded.
func TestOutagePauseEnds(t *testing.T) {
	for name, response := range map[string]justoneapitest.Response{
		"a value":              justoneapitest.Stat(justoneapitest.Constant(7), 1),
		"the user's own error": justoneapitest.BilibiliCode(-404, ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := newPipeAPI(t, justoneapitest.Latency(time.Second, justoneapitest.BilibiliCode(-500, "")))
			c := newCollector(t, client, users(20))
			scrape(c, 9*time.Second)
			if got := server.Total().Requests; got != 8 {
				t.Fatalf("%s: got %d requests, want 8: five have failed while others were in flight", name, got)
			}
			scrapeFor(c, 50*time.Second, func() {})
			if got := server.Total().Requests; got != 8 {
				t.Errorf("%s: got %d requests during the pause, want none", name, got-8)
			}
			server.SetAll(justoneapitest.Latency(time.Second, response))
			time.Sleep(10 * time.Second)
			scrape(c, 500*time.Millisecond)
			if got := server.Total().Requests; got != 9 {
				t.Errorf("%s: got %d probes at a time, want 1", name, got-8)
			}
			time.Sleep(2 * time.Second)
			scrape(c, 9*time.Second)
			if got := server.Total().Requests; got != 9+12-1 {
				t.Errorf("%s: got %d requests after the probe, want those for the 11 users that are due", name, got-9)
			}
		})
	}
}

// TestRefund shows which responses the budget is refunded for.
func TestRefund(t *testing.T) {
	const charged, refunded = 1, 0
	for name, test := range map[string]struct {
		response justoneapitest.Response
		want     int
	}{
		"value":               {justoneapitest.Stat(justoneapitest.Constant(7), 1), charged},
		"Bilibili's -404":     {justoneapitest.BilibiliCode(-404, ""), charged},
		"Bilibili's -503":     {justoneapitest.BilibiliCode(-503, ""), charged},
		"another user":        {justoneapitest.OtherUser(9), charged},
		"no such content":     {justoneapitest.Code(201, ""), charged},
		"unexplained":         {justoneapitest.Code(300, ""), charged},
		"undocumented":        {justoneapitest.Code(999, ""), charged},
		"service unavailable": {justoneapitest.Code(503, ""), charged},
		"gateway":             {justoneapitest.Body(502, "text/html", ""), charged},
		"plain 429":           {justoneapitest.Body(429, "text/html", ""), charged},
		"timeout":             {justoneapitest.Hang(), charged},
		"cut":                 {justoneapitest.CutBefore(), charged},
		"cut in the middle":   {justoneapitest.CutMiddle(), charged},
		"malformed":           {justoneapitest.Data("{}"), charged},
		"invalid token":       {justoneapitest.Code(100, ""), refunded},
		"collection failed":   {justoneapitest.Code(301, ""), refunded},
		"rate limit":          {justoneapitest.Code(302, ""), refunded},
		"daily quota":         {justoneapitest.StatusCode(429, 303, ""), refunded},
		"invalid parameter":   {justoneapitest.Code(400, ""), refunded},
		"internal error":      {justoneapitest.StatusCode(500, 500, ""), refunded},
		"permission":          {justoneapitest.Code(600, ""), refunded},
		"balance":             {justoneapitest.Code(601, ""), refunded},
		"token limit":         {justoneapitest.Code(602, ""), refunded},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := newPipeAPI(t, justoneapitest.Latency(time.Second, test.response))
			c := newCollector(t, client, users(1), withDailyLimit(users(1), 100))
			scrape(c, 500*time.Millisecond)
			names := []string{"bilibili_quota_used", "bilibili_quota_remaining"}
			expectLines(t, c, names, "bilibili_quota_used 1", "bilibili_quota_remaining 99") // in flight
			time.Sleep(2 * time.Minute)
			got := c.Snapshot().Account().Used
			if got != test.want || server.Total().Requests != 1 {
				t.Errorf("%s: got %d used for %d requests, want %d", name, got, server.Total().Requests, test.want)
			}
			expectLines(t, c, names, fmt.Sprintf("bilibili_quota_used %d", test.want),
				fmt.Sprintf("bilibili_quota_remaining %d", 100-test.want))
			if billed := server.Total().Billed; billed > test.want {
				t.Errorf("%s: got %d used, but the vendor counts %d", name, test.want, billed)
			}
		})
	}
}

// TestRefundWithoutConnection refunds requests that found no connection, and all users have values the same day.
func TestRefundWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		server.Close()
		c := newCollector(t, client, users(6), withDailyLimit(users(6), 6))
		scrapeFor(c, 30*time.Minute, func() {})
		expectLines(t, c, []string{"bilibili_quota_used"}, "bilibili_quota_used 0")
		expectLines(t, c, []string{"bilibili_up"}, `bilibili_up{wmid="6"} 0`)
	})
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Code(301, ""))
		c := newCollector(t, client, users(6), withDailyLimit(users(6), 6))
		scrape(c, 9*time.Second)
		server.SetAll(justoneapitest.Stat(justoneapitest.Constant(7), 1))
		scrapeFor(c, 13*time.Hour, func() {}) // with a budget so tight, the retries are spread over the day
		if got := exposedUsers(t, c); got != "1 2 3 4 5 6" || server.Total().Billed != 6 {
			t.Errorf("got values of users %q and %d billed, want all of them", got, server.Total().Billed)
		}
	})
}

// TestRetryAfter lets the response ask for a time to wait: no request is sent before it has passed, and one when it
// has.
func TestRetryAfter(t *testing.T) {
	plain429 := justoneapitest.Body(429, "text/plain", "slow down")
	plain503 := justoneapitest.Body(503, "text/plain", "overload")
	for name, test := range map[string]struct {
		response justoneapitest.Response
		after    time.Duration // 0 for no header
		reason   string
		want     time.Duration // length of the pause
	}{
		"302":              {justoneapitest.Code(302, ""), 2 * time.Minute, "rate_limit", 2 * time.Minute},
		"302 at 429":       {justoneapitest.StatusCode(429, 302, ""), 2 * time.Minute, "rate_limit", 2 * time.Minute},
		"302 without":      {justoneapitest.Code(302, ""), 0, "rate_limit", 30 * time.Second},
		"302, short":       {justoneapitest.Code(302, ""), 5 * time.Second, "rate_limit", 30 * time.Second},
		"302, a whole day": {justoneapitest.Code(302, ""), 24 * time.Hour, "rate_limit", time.Hour},
		"429":              {plain429, 2 * time.Minute, "rate_limit", 2 * time.Minute},
		"429 without":      {plain429, 0, "rate_limit", 30 * time.Second},
		"503":              {plain503, 25 * time.Minute, "outage", 25 * time.Minute},
		"503, short":       {plain503, 5 * time.Second, "outage", 5 * time.Second},
		"303 at 429":       {justoneapitest.StatusCode(429, 303, ""), 2 * time.Minute, "daily_quota", time.Hour},
	} {
		for _, form := range []string{"seconds", "date"} {
			t.Run(name+", "+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, client := newPipeAPI(t, nil)
					respond := justoneapitest.Response(func(x *justoneapitest.Exchange) {
						value := fmt.Sprint(int(test.after.Seconds()))
						if form == "date" {
							value = time.Now().Add(test.after).UTC().Format(http.TimeFormat)
						}
						if test.after == 0 {
							test.response(x)
							return
						}
						justoneapitest.RetryAfter(value, test.response)(x)
					})
					server.SetAll(respond)
					c := newCollector(t, client, users(1))
					start := time.Now()
					scrape(c, 9*time.Second)
					expectLines(t, c, pauseNames, `bilibili_api_paused{reason="`+test.reason+`"} 1`,
						fmt.Sprintf("bilibili_api_resume_timestamp_seconds %v", float64(start.Add(test.want).Unix())))
					for time.Since(start) < test.want-2*time.Second {
						time.Sleep(time.Second)
						scrape(c, 0)
					}
					if got := server.Total().Requests; got != 1 {
						t.Errorf("got %d requests within %v, want 1", got, test.want)
					}
					server.SetAll(justoneapitest.Stat(justoneapitest.Constant(7), 1))
					if test.reason == "outage" && test.want < 15*time.Minute { // the interval is longer
						time.Sleep(15*time.Minute - test.want)
					}
					time.Sleep(2 * time.Second)
					scrape(c, 9*time.Second)
					if got := server.Total().Requests; got != 2 {
						t.Errorf("got %d requests after %v, want 2", got, test.want)
					}
				})
			})
		}
	}
}

// TestRetryAfterOfSeveral has requests in flight whose responses ask for different times, or are values: no request is
// sent before the longest has passed.
func TestRetryAfterOfSeveral(t *testing.T) {
	for _, response := range []justoneapitest.Response{
		justoneapitest.Code(302, ""), justoneapitest.Body(429, "text/plain", ""), justoneapitest.Body(503, "text/plain", ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
			for wmid, after := range map[int64]string{1: "100", 2: "600", 3: "200"} {
				limited := justoneapitest.RetryAfter(after, response)
				server.Set(wmid, justoneapitest.Latency(time.Duration(wmid)*time.Second, limited))
			}
			server.Set(4, justoneapitest.Latency(4*time.Second, justoneapitest.Stat(justoneapitest.Constant(7), 1)))
			c := newCollector(t, client, users(20))
			start := time.Now()
			scrapeFor(c, 600*time.Second, func() {})
			if got := server.Total().Requests; got != 4 {
				t.Errorf("got %d requests within 10m, want the 4 that were in flight", got)
			}
			time.Sleep(time.Until(start.Add(602 * time.Second)))
			server.SetAll(justoneapitest.Stat(justoneapitest.Constant(7), 1))
			scrape(c, 9*time.Second) // probes
			scrape(c, 9*time.Second)
			if got := server.Total().Requests; got < 20 {
				t.Errorf("got %d requests after 10m, want those for all users", got)
			}
		})
	}
}

// withBalance returns a change of the configuration that requests the balance.
func withBalance(users []collector.User, interval time.Duration) func(*collector.Config) {
	return func(config *collector.Config) {
		withGuard(users, func(guard *quota.Config) { guard.BalanceInterval, guard.DailyLimit = interval, 1000 })(config)
		config.BalanceInterval = interval
	}
}

var balanceNames = []string{"bilibili_account_balance", "bilibili_account_balance_timestamp_seconds"}

// TestBalance requests the balance once in an interval, on a scrape only. It is exposed until it has expired.
func TestBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(2), withBalance(users(2), time.Hour))
		if got := gather(t, c.Snapshot(), balanceNames...); got != "" || server.Balances() != 0 {
			t.Errorf("before the first scrape: got %s and %d requests", got, server.Balances())
		}
		start := time.Now()
		scrapeFor(c, 3*time.Hour, func() {})
		if got := server.Balances(); got != 3 {
			t.Errorf("got %d requests for the balance in 3 h, want 3", got)
		}
		last := start.Add(2 * time.Hour).Unix()
		expectLines(t, c, balanceNames, `bilibili_account_balance{currency="CNY"} 123.45`,
			fmt.Sprintf("bilibili_account_balance_timestamp_seconds %v", float64(last)))
		expectLines(t, c, []string{"bilibili_api_requests_total", "bilibili_quota_used"},
			fmt.Sprint("bilibili_api_requests_total ", server.Total().Requests),
			fmt.Sprint("bilibili_quota_used ", server.Total().Requests))

		time.Sleep(time.Until(time.Unix(last, 0).Add(3 * time.Hour)))
		expectLines(t, c, balanceNames, `bilibili_account_balance{currency="CNY"} 123.45`)
		time.Sleep(time.Second)
		if got := gather(t, c.Snapshot(), balanceNames[0]); got != "" {
			t.Errorf("after three intervals: got %s", got)
		}
		expectLines(t, c, balanceNames, fmt.Sprintf("bilibili_account_balance_timestamp_seconds %v", float64(last)))
		c.Snapshot().Account()
		c.Snapshot().Users()
		if got := server.Balances(); got != 3 {
			t.Errorf("got %d requests for the balance without a scrape", got-3)
		}
		scrape(c, 9*time.Second)
		synctest.Wait()
		expectLines(t, c, balanceNames, `bilibili_account_balance{currency="CNY"} 123.45`)
	})
}

// TestBalanceIsOptional requests no balance by default, and none after a reload that disables it.
func TestBalanceIsOptional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(1))
		scrapeFor(c, time.Hour, func() {})
		if got := gather(t, c.Snapshot(), balanceNames...); got != "" || server.Balances() != 0 {
			t.Errorf("got %s and %d requests for the balance, want none", got, server.Balances())
		}
		settings, limits := settingsFor(client, users(1)), limitsFor(users(1))
		settings.BalanceInterval, limits.BalanceInterval = time.Minute, time.Minute
		c.Reload(settings, limits)
		scrapeFor(c, 10*time.Minute, func() {})
		if got := server.Balances(); got != 10 {
			t.Errorf("got %d requests for the balance after a reload, want 10", got)
		}
		expectLines(t, c, balanceNames, `bilibili_account_balance{currency="CNY"} 123.45`)
		reload(c, client, users(1))
		scrapeFor(c, 10*time.Minute, func() {})
		if got := gather(t, c.Snapshot(), balanceNames...); got != "" || server.Balances() != 10 {
			t.Errorf("got %s and %d requests for the balance after another reload, want none", got, server.Balances()-10)
		}
	})
}

// TestBalanceDelaysNoScrape has an endpoint of the balance that hangs: scrapes take as long as without it, also when
// there is nothing else to do, and the requests for users are not limited by it.
func TestBalanceDelaysNoScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		server.SetBalance(justoneapitest.Hang())
		c := newCollector(t, client, users(3), withBalance(users(3), time.Minute),
			func(config *collector.Config) { config.MaxConcurrency = 1 })
		for i := range 180 {
			if got := scrape(c, 9*time.Second); got != 0 {
				t.Errorf("scrape %d took %v, want 0s", i, got)
			}
			time.Sleep(10 * time.Second)
		}
		if got := server.Balances(); got < 25 || got > 30 { // each hangs for a minute
			t.Errorf("got %d requests for the balance in 30 min, want one per minute", got)
		}
		if got := server.Total(); got != (justoneapitest.Tally{Requests: 6, Billed: 6}) {
			t.Errorf("got %+v, want two requests for each user", got)
		}
		got := gather(t, c.Snapshot(), append(balanceNames, "upstream_error_code")...)
		if strings.Contains(got, "balance") || !strings.Contains(got, `upstream_error_code{code="timeout"} 0`) {
			t.Errorf("got %s, want no balance and no error counted", got)
		}
	})
}

// TestBalanceRecordedBeforeSent has a store that takes a while: a request for the balance is not sent before its record
// is durable, and not at all if that takes longer than 10 s. It is sent after the next interval.
func TestBalanceRecordedBeforeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowStore(2 * time.Second)
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(1), func(config *collector.Config) {
			withGuard(users(1), func(guard *quota.Config) { guard.BalanceInterval, guard.Store = time.Minute, store })(config)
			config.BalanceInterval = time.Minute
		})
		for i, step := range []struct {
			commit, wait time.Duration
			want         int // requests for the balance so far
		}{
			{2 * time.Second, 2*time.Second - 1, 0}, {2 * time.Second, 1, 1},
			{12 * time.Second, time.Minute, 1}, {12 * time.Second, time.Minute, 1}, {0, time.Minute, 2},
		} {
			store.mu.Lock()
			store.commit = step.commit
			store.mu.Unlock()
			scrape(c, 0)
			time.Sleep(step.wait)
			synctest.Wait()
			if got := server.Balances(); got != step.want {
				t.Errorf("step %d: got %d requests for the balance, want %d", i, got, step.want)
			}
		}
	})
}

// TestBalanceLog logs failures of the balance when they start, change and end. They are counted nowhere.
func TestBalanceLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(1), withBalance(users(1), time.Minute), withLog(lines))
		respond := func(status int, body string) {
			server.SetBalance(justoneapitest.Body(status, "application/json", body))
			scrapeFor(c, 5*time.Minute, func() {})
		}
		respond(200, justoneapitest.Balance)
		respond(502, "Bad Gateway")
		respond(200, `{"code":0,"data":{"balance":5,"currency":"CNY"}}`)
		expectLines(t, c, balanceNames, "bilibili_account_balance_timestamp_seconds 9.4668504e+08")
		respond(200, `{"code":601,"message":"`+justoneapitest.Token+`"}`)
		respond(200, `{"code":0,"data":{"balance":"-7.5","currency":"USD"}}`)
		respond(200, justoneapitest.Balance)
		want := []string{
			`level=warn msg="Error fetching account balance" code=http_502 ` +
				`err="http_502: HTTP error instead of an API response"`,
			`level=warn msg="Error fetching account balance" code=malformed err=`,
			`level=warn msg="Error fetching account balance" code=601 err=`,
			`level=info msg="Account balance recovered" amount=-7.5 currency=USD`,
		}
		got := lines.aboveDebug()
		for i, line := range got {
			if i >= len(want) || !strings.HasPrefix(line, want[i]) || strings.Contains(line, justoneapitest.Token) {
				t.Errorf("line %d: got %s", i, line)
			}
		}
		if len(got) != len(want) {
			t.Errorf("got %d lines, want %d", len(got), len(want))
		}
		for line := range strings.Lines(gather(t, c.Snapshot(), "upstream_error_code", "bilibili_api_paused")) {
			if !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0\n") {
				t.Errorf("a failure of the balance is counted, or pauses: %s", line)
			}
		}
	})
}

// TestFirstBalanceLog logs a failure of the first request.
func TestFirstBalanceLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		server.SetBalance(justoneapitest.Hang())
		c := newCollector(t, client, users(1), withBalance(users(1), 10*time.Minute), withLog(lines))
		scrapeFor(c, 30*time.Minute, func() {})
		got := lines.aboveDebug()
		if len(got) != 1 || !strings.HasPrefix(got[0], `level=warn msg="Error fetching account balance" code=timeout err=`) {
			t.Errorf("got %q, want one line about the timeouts", got)
		}
	})
}

// TestBalanceOnScrapesOnly stops scraping while a long queue waits: requests for users continue for 5 minutes, those
// for the balance do not.
func TestBalanceOnScrapesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(1000), withBalance(users(1000), time.Minute),
			func(config *collector.Config) { config.MaxRequestsPerSecond = 1 })
		scrape(c, time.Second)
		time.Sleep(time.Hour)
		if got := server.Balances(); got != 1 || server.Total().Requests != 300 {
			t.Errorf("got %d requests for the balance and %d for users, want 1 and 300", got, server.Total().Requests)
		}
	})
}

// TestCloseStartsNoBalance closes the collector while a scrape reads the token: no balance is requested.
func TestCloseStartsNoBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		c := newCollector(t, client, users(1), withBalance(users(1), time.Minute), func(config *collector.Config) {
			token := config.Token
			config.Token = func() justoneapi.Token {
				time.Sleep(100 * time.Millisecond)
				return token()
			}
		})
		go scrape(c, time.Second)
		time.Sleep(50 * time.Millisecond)
		c.Close(t.Context())
		if got := server.Balances(); got != 0 {
			t.Errorf("got %d requests for the balance after Close, want none", got)
		}
	})
}

// TestBalanceAndClose cancels a request for the balance at shutdown, and sends none afterwards.
func TestBalanceAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		server.SetBalance(justoneapitest.Hang())
		c := newCollector(t, client, users(1), withBalance(users(1), time.Minute))
		scrape(c, 9*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		c.Close(ctx)
		if got := time.Since(start); got > 11*time.Second {
			t.Errorf("closing took %v, want 10s", got)
		}
		time.Sleep(time.Hour)
		scrape(c, 9*time.Second)
		if got := server.Balances(); got != 1 {
			t.Errorf("got %d requests for the balance, want 1", got)
		}
	})
}

// TestSuspended suspends the machine for longer than values and the balance are exposed. The monotonic clock stops
// meanwhile, so no time that the guard returns may have a reading of it.
func TestSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspended = 24*time.Hour + time.Second
		server, client := newPipeAPI(t, justoneapitest.Stat(justoneapitest.Constant(7), 1))
		change := func(config *collector.Config) {
			withGuard(users(1), func(guard *quota.Config) {
				guard.BalanceInterval = 8 * time.Hour
				guard.Now = func() time.Time { return time.Now().Add(-suspended) } // what is received is as old
			})(config)
			config.BalanceInterval = 8 * time.Hour
		}
		c := newCollector(t, client, users(1), change)
		scrape(c, 9*time.Second)
		synctest.Wait()
		if got := gather(t, c.Snapshot(), "bilibili_followers", balanceNames[0]); got != "" || server.Balances() != 1 {
			t.Errorf("got %s after a day, want nothing", got)
		}
	})
	limits := limitsFor(users(1))
	limits.BalanceInterval = time.Hour
	guard := quota.New(quota.Config{Limits: limits}) // with the real clock
	number, _, _ := guard.StartBalance()
	guard.FinishBalance(number, 1, "CNY", true)
	number, _, _ = guard.Start(1)
	guard.Finish(1, number, quota.Result{})
	user := guard.Users()[0]
	guard.SetLimits(limitsFor(users(2)))
	number, _, _ = guard.Start(2)
	guard.Finish(2, number, quota.Result{Verdict: quota.VerdictRefused, Reason: quota.ReasonToken})
	account := guard.Account()
	for name, at := range map[string]time.Time{
		"value": user.Value.At, "start": user.Started, "due": user.Due,
		"balance": account.Balance.At, "pause": account.Pause.Resume,
	} {
		if at.IsZero() || at != at.Round(0) {
			t.Errorf("%s: %v has a monotonic reading", name, at)
		}
	}
}

// TestSuppressedLog has a refresh that continues for five minutes while most users fail: the suppressed messages
// are reported within a minute, each once, with the most frequent code.
func TestSuppressedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var failures int
		var reports []string
		var last time.Time
		lines := writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if line := string(p); strings.Contains(line, "Suppressed") {
				reports = append(reports, line)
				if gap := time.Since(last); !last.IsZero() && gap < time.Minute && time.Since(start) < 5*time.Minute-time.Second {
					t.Errorf("got two reports within %v", gap)
				}
				last = time.Now()
			} else if strings.Contains(line, "level=warn") {
				failures++
			}
			return len(p), nil
		})
		server, client := newPipeAPI(t, justoneapitest.BilibiliCode(-404, ""))
		const n = 3000
		for wmid := int64(1); wmid <= n; wmid++ {
			if wmid%10 < 4 { // of these two, -404 is the more frequent one
				server.Set(wmid, justoneapitest.BilibiliCode(22115, ""))
			}
		}
		c := newCollector(t, client, users(n), withLogTo(lines),
			func(config *collector.Config) { config.MaxRequestsPerSecond = 10 })
		for minute := range 5 {
			scrape(c, 9*time.Second)
			time.Sleep(time.Until(start.Add(time.Duration(minute+1) * time.Minute)))
			mu.Lock()
			since := time.Since(start)
			late := last.IsZero() && since > 70*time.Second
			if late || !last.IsZero() && time.Since(last) > 61*time.Second {
				t.Errorf("after %v: the last report is from %v", since, last.Sub(start))
			}
			mu.Unlock()
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		var suppressed int
		for _, report := range reports {
			_, rest, _ := strings.Cut(report, "suppressed=")
			var count int
			var code string
			if _, err := fmt.Sscanf(rest, "%d most_frequent_code=%s", &count, &code); err != nil || code != "-404" {
				t.Errorf("got %s, want code -404 (%v)", report, err)
			}
			suppressed += count
		}
		if failures+suppressed != n || len(reports) < 5 {
			t.Errorf("got %d lines and %d suppressed ones in %d reports, want %d together",
				failures, suppressed, len(reports), n)
		}
	})
}

// TestSuppressedLogWhileWaiting reports suppressed messages although no request ends and no scrape arrives.
func TestSuppressedLogWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		server, client := newPipeAPI(t, justoneapitest.BilibiliCode(-404, ""))
		server.Set(1, justoneapitest.Hang())
		c := newCollector(t, client, users(100), withLog(lines),
			func(config *collector.Config) { config.RequestTimeout = 2 * time.Minute })
		scrape(c, 9*time.Second)
		for _, want := range []int{0, 1} {
			log := strings.Join(lines.aboveDebug(), "\n")
			if got := strings.Count(log, "suppressed=79 most_frequent_code=-404"); got != want {
				t.Errorf("after %v: got %d reports, want %d", 9*time.Second, got, want)
			}
			time.Sleep(52 * time.Second)
		}
	})
}

// TestSuppressedLogOfTwoRefreshes has a refresh end, which reports suppressed messages, and another one start: its own
// are reported a minute after the first of them.
func TestSuppressedLogOfTwoRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		server, client := newPipeAPI(t, justoneapitest.BilibiliCode(-404, ""))
		c := newCollector(t, client, users(100), withLog(lines))
		reports := func() int { return strings.Count(strings.Join(lines.aboveDebug(), "\n"), "Suppressed") }
		scrape(c, 9*time.Second)
		server.Set(101, justoneapitest.Hang())
		reload(c, client, users(200), func(s *collector.Settings) { s.RequestTimeout = 2 * time.Minute })
		time.Sleep(40 * time.Second)
		scrape(c, 0)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {30 * time.Second, 1}, {31 * time.Second, 2}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := reports(); got != step.want {
				t.Errorf("after another %v: got %d reports, want %d", step.wait, got, step.want)
			}
		}
	})
}

// TestFetchedLog logs the vendor's request ID and the duration of each request at debug level.
func TestFetchedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &logLines{}
		server, client := newPipeAPI(t, justoneapitest.Latency(1234*time.Millisecond,
			justoneapitest.Stat(justoneapitest.Constant(4153991), 11)))
		c := newCollector(t, client, users(1), withLog(lines))
		scrape(c, 9*time.Second)
		server.SetAll(justoneapitest.Latency(2*time.Second, justoneapitest.BilibiliCode(-404, "")))
		time.Sleep(15 * time.Minute)
		scrape(c, 9*time.Second)
		server.SetAll(justoneapitest.Latency(3*time.Second, justoneapitest.Stat(justoneapitest.Constant(7), 1)))
		time.Sleep(30 * time.Minute)
		scrape(c, 9*time.Second)
		synctest.Wait()
		lines.mu.Lock()
		defer lines.mu.Unlock()
		got := strings.Join(lines.lines, "\n")
		for _, want := range []string{
			`level=debug wmid=1 name=user duration=1.234s msg="Fetched user" ` +
				`followers=4153991 following=11 request_id=stand-in-1-0`,
			`level=warn wmid=1 name=user duration=2s msg="Error fetching user" code=-404 err="-404: Bilibili: no such user: ` +
				`request ID \"stand-in-1-0\""`,
			`level=info wmid=1 name=user duration=3s msg="User recovered" ` +
				`followers=7 following=1 request_id=stand-in-1-0 last_code=-404`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("got\n%s\nwant it to contain %s", got, want)
			}
		}
	})
}

// TestBilibiliOutageBacksOffNobody compares the next request after a failure of Bilibili and after the user's own
// error.
func TestBilibiliOutageBacksOffNobody(t *testing.T) {
	for _, code := range justoneapi.KnownCodes() {
		var number int
		_, err := fmt.Sscan(code, &number)
		if err != nil || justoneapi.Explain(code, true).Meaning == "Bilibili: not documented" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			_, client := newPipeAPI(t, justoneapitest.BilibiliCode(number, ""))
			c := newCollector(t, client, users(1))
			scrape(c, 9*time.Second)
			want := 15 * time.Minute
			if justoneapi.Explain(code, true).Scope == justoneapi.ScopeUser {
				want *= 2
			}
			if got := c.Snapshot().Users()[0].State.Interval; got != want {
				t.Errorf("%s: got an interval of %v, want %v", code, got, want)
			}
		})
	}
}
