package status

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

const asOf = " As of 2026-11-23 20:00:00 Asia/Shanghai (UTC+08:00); all times are in this zone. " +
	"Refreshed every 30 s. Stop refreshing"

// summary returns the text that a page shows, without what is the same on all pages.
func summary(t testing.TB, page string) string {
	t.Helper()
	text := visibleText(t, page)
	if strings.Count(text, asOf) != 1 {
		t.Errorf("want %q in\n%s", asOf, text)
	}
	return strings.ReplaceAll(strings.Replace(text, asOf, "", 1), " More about it", "")
}

// summaries are changes to the data of two healthy users, and what the page then says.
var summaries = []struct {
	name   string
	change func(*Data)
	want   []string
}{
	{"healthy", func(*Data) {}, []string{
		"Working Users 2 fresh 0 stale 0 failing 0 unavailable Today", "Queue: no user is due.",
		"1,500 of 2,000 requests charged, 500 left",
		"Resets at 00:00 (in 4 h).", "Last scrape 20 s ago; started 5 h ago.",
	}},
	{"failing", func(d *Data) { d.Users[1] = failed(d.Users[1], "-404", `message "啥都木有"`) }, []string{
		"Working, 1 of 2 users unavailable Users 1 fresh 0 stale 0 failing 1 unavailable",
		`unavailable two 2 20 7 5 min in 10 min -404: Bilibili: no such user: message "啥都木有" Check the WMID`,
	}},
	{"all unavailable", func(d *Data) {
		d.Users = []collector.UserSnapshot{failed(user(1, "one", 10, 5), "400", "")}
	}, []string{"Not working: 1 of 1 user unavailable since 19:56"}},
	{"one of them failing", func(d *Data) {
		d.Users[0], d.Users[1] = failed(d.Users[0], "mismatch", ""), failed(d.Users[1], "301", "")
	}, []string{"Not working: 1 of 2 users failing with 301 since 19:56 Users 0 fresh 0 stale 1 failing 1 unavailable"}},
	{"failing with several codes", func(d *Data) {
		d.Users = append(d.Users, failed(user(3, "three", 1, 9), "301", ""), failed(user(4, "four", 1, 9), "network", ""),
			failed(user(5, "five", 1, 9), "network", ""))
		d.Users[2].State.FailingSince, d.Users[3].State.FailingSince = minutesAgo(24*60), minutesAgo(8)
		d.Users[4].State.FailingSince = minutesAgo(7)
	}, []string{
		"Partly working: 3 of 5 users failing, mostly with network since 19:52", "network: connection failed failing five",
		"Show network Check name resolution", // the advice stands above the table
	}},
	{"failing since another day", func(d *Data) {
		d.Users[0] = failed(d.Users[0], "301", "")
		d.Users[0].State.Value, d.Users[0].State.FailingSince = quota.Value{}, minutesAgo(48*60)
	}, []string{"Partly working: 1 of 2 users failing with 301 since 2026-11-21 20:00"}},
	{"queue", func(d *Data) {
		d.Users[0].State.Due, d.Users[1].State.Due = minutesAgo(1), now
		d.Account.InFlight = 3
	}, []string{"Queue: 2 users due. The requests take about 4 s. 3 requests in flight."}},
	{"queue in a pause", func(d *Data) {
		d.Users[0].State.Due = now
		d.Account.Pause = quota.Pause{Reason: quota.ReasonToken, Resume: now.Add(time.Minute)}
	}, []string{"Queue: 1 user due, waiting for the end of the pause."}},
	{"queue without a budget", func(d *Data) { d.Users[0].State.Due, d.Account.Remaining = now, 0 }, []string{
		"Queue: 1 user due, waiting for the next budget.",
	}},
	{"queue on standby", func(d *Data) { d.Users[0].State.Due, d.Replica = now, &Replica{} }, []string{
		"Queue: 1 user due, for the active replica.",
	}},
	{"damaged state", func(d *Data) {
		d.Damage = &Damage{Error: "checksum differs", RenamedTo: "data/state.db.corrupt-1"}
	}, []string{
		"Working, with warnings The persistent state was damaged at startup and was renamed to data/state.db.corrupt-1: " +
			"checksum differs All users are requested again, which may be billed. No action is needed, but check the disk.",
		"Because the state was damaged at startup (15:00), the share of the day that had passed by then counts as used.",
	}},
	{"damaged state on another day", func(d *Data) {
		d.Damage, d.Started = &Damage{Error: "x", RenamedTo: "x"}, minutesAgo(24*60)
	}, []string{"Working Users"}},
	{"labels", func(d *Data) { d.Users[0].User.Labels = map[string]string{"b": "2", "agency": "none"} }, []string{
		"fresh one agency:none b:2 1",
	}},
	{"all failing", func(d *Data) {
		d.Users = []collector.UserSnapshot{failed(user(1, "one", 10, 5), "timeout", "")}
	}, []string{
		"Not working: 1 of 1 user failing with timeout since 19:56",
		"timeout: no response in time No action is needed if it passes.",
	}},
	{"code of both", func(d *Data) {
		d.Users[0] = failed(d.Users[0], "303", "")
		d.Users[0].State.Last.Bilibili = true
	}, []string{"303: Bilibili: not documented No action is needed"}},
	{"stale", func(d *Data) { d.Users[0] = user(1, "one", 10, 31) }, []string{
		"Partly working: 1 of 2 users stale since 19:59 Users", "31 min next scrape A request has been due for 16 min. " +
			"If this persists although the exporter is scraped, requests do not keep up: raise",
	}},
	{"a short interval is late, but not stale", func(d *Data) {
		d.Users[0] = user(1, "one", 10, 4)
		d.Users[0].State.Interval = 20 * time.Second
	}, []string{"Working Users 2 fresh"}},
	{"in flight", func(d *Data) {
		d.Users[0].State = quota.UserState{InFlight: true, Started: now, Due: now.Add(time.Minute)}
	}, []string{"Starting: 1 of 2 users waiting", "waiting one 1 in flight fresh two"}},
	{"interrupted", func(d *Data) {
		d.Users[0].State = quota.UserState{Started: minutesAgo(1), Due: now.Add(14 * time.Minute)}
	}, []string{
		"waiting one 1 in 14 min The exporter stopped before the response arrived. No action is needed",
	}},
	{"stretched", func(d *Data) {
		d.Account.Ratio = 480
		state := &d.Users[0].State
		state.Interval, state.Started, state.Due = 5*24*time.Hour, minutesAgo(5), now.Add(5*24*time.Hour)
	}, []string{
		"Working, with warnings The daily limit is low: to stay within it, every interval is stretched by 480.0.",
		"Until then, every interval is stretched by 480.00.", "5 min in 4 h",
	}},
	{"expired", func(d *Data) {
		d.Users[0] = user(1, "one", 10, 3*24*60)
		d.Users[0].Exposed = false
	}, []string{"1 of 2 users stale since 2026-11-20 20:30 Users", "3 d expired, no longer exposed"}},
	{"paused", func(d *Data) {
		d.Account.Pause = quota.Pause{
			Reason: quota.ReasonDailyQuota, Resume: now.Add(12*time.Minute + time.Second), Since: minutesAgo(5),
		}
	}, []string{
		"Partly working: daily quota exceeded (303), requests paused since 19:55 " +
			"Requests are paused: daily quota exceeded (303). " +
			"Next probe: first scrape after 20:12 (in 13 min). Requests resume",
		"5 min in 13 min",
	}},
	{"paused, probe due", func(d *Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonToken, Resume: now}
		d.Users[1].State.Due = now
	}, []string{
		"Requests are paused: token invalid or inactive (100). Next probe: next scrape. Use a valid token. " +
			"A different token ends the pause at once. To change the token, edit api.token and reload.",
	}},
	{"outage", func(d *Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonOutage, Resume: now.Add(12 * time.Minute)}
		d.Users[0] = failed(d.Users[0], "-503", "")
	}, []string{
		"Partly working: 1 of 2 users without a new value, requests failing with -503 " +
			"Requests are paused: the upstream is failing. " +
			"Next probe: first scrape after 20:12 (in 12 min). No action is needed: single requests probe",
		"-503: Bilibili: overloaded or unavailable No action is needed if it passes: Bilibili is failing",
		"5 min in 12 min",
	}},
	{"outage, and no value", func(d *Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonOutage, Resume: now, Since: minutesAgo(60)}
		d.Users = []collector.UserSnapshot{failed(user(1, "one", 1, 1), "timeout", "")}
	}, []string{
		"Not working: 1 of 1 user without a new value, requests failing with timeout since 19:00 " +
			"Requests are paused: the upstream is failing. Next probe: first scrape after 20:14 (in 14 min).",
	}},
	{"budget used up", func(d *Data) {
		d.Account.Used, d.Account.Remaining, d.Account.Ratio = 2001, 0, 2.5
	}, []string{
		"Partly working: today’s budget is used up, requests resume at 00:00 (in 4 h) Today’s budget is used up. " +
			"Requests resume at 00:00 (in 4 h). Raise quota.daily_limit",
		"2,001 of 2,000 requests charged, 0 left Resets at 00:00 (in 4 h). Requests", "5 min in 4 h",
	}},
	{"no limit", func(d *Data) {
		d.Account = quota.Account{Used: 1, Reset: now.Add(time.Minute), Ratio: 1}
	}, []string{"1 request charged today; no daily limit is configured"}},
	{"never scraped", func(d *Data) { d.LastScrape = time.Time{} }, []string{
		"Partly working: no scrape since 15:00 Requests are sent only on scrapes",
		"No scrape for 5 h. Requests are made only on scrapes. Check the target",
		"No scrape since startup 5 h ago.",
	}},
	{"just started", func(d *Data) {
		d.LastScrape, d.Started = time.Time{}, minutesAgo(1)
		d.Users = []collector.UserSnapshot{{User: collector.User{WMID: 1, Name: "one"}}}
	}, []string{
		"Waiting for the first scrape Requests are sent only on scrapes, and there has been none yet. Add this exporter",
		"are requested. Requests may be billed. Open the metrics Users 0 fresh 0 stale 0 failing 0 unavailable 1 waiting",
		"Queue: 1 user due. The requests take about 2 s. No scrape since startup 1 min ago.", "waiting one 1 next scrape",
	}},
	{"demo", func(d *Data) { d.LastScrape, d.Started, d.Demo = time.Time{}, minutesAgo(1), true }, []string{
		"the users that are due are requested. Nothing is billed in this demo. Open the metrics",
	}},
	{"starting", func(d *Data) { d.Users[0].State = quota.UserState{} }, []string{
		"Starting: 1 of 2 users waiting",
	}},
	{"scraped rarely, as configured", func(d *Data) {
		d.LastScrape, d.Users = minutesAgo(16), d.Users[:1]
		d.Users[0].State.Interval = time.Hour
	}, []string{"Working Users 1 fresh"}},
	{"paused, and no value", func(d *Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonBalance, Resume: now}
		d.Users = []collector.UserSnapshot{failed(user(1, "one", 1, 1), "601", "")}
	}, []string{"Not working: balance insufficient (601), requests paused"}},
	{"paused, and the budget used up", func(d *Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonRateLimit, Resume: now.Add(30 * time.Second)}
		d.Account.Remaining = 0
	}, []string{"Next probe: first scrape after 00:00 (in 4 h)."}},
	{"no longer scraped", func(d *Data) { d.LastScrape = minutesAgo(16) }, []string{
		"Partly working: no scrape since 19:44 No scrape for 16 min.",
	}},
	{"reload failed", func(d *Data) { d.ReloadError = LastError{"b.yml:3: users: <x>", minutesAgo(48 * 60)} }, []string{
		"Working, with warnings Reloading the configuration has failed since 2026-11-21 20:00, and the previous one is " +
			"used: b.yml:3: users: <x> Fix it",
	}},
	{"disk full", func(d *Data) { d.StorageError = LastError{"no space left", minutesAgo(8)} }, []string{
		"Working, with warnings Writing persistent state has failed since 19:52: no space left Check the disk",
	}},
	{"database down", func(d *Data) {
		d.StorageError = LastError{"connection refused", minutesAgo(8)}
		d.Replica = &Replica{Name: "a/1", Active: true, Since: minutesAgo(5)}
	}, []string{
		"Partly working: the database cannot be used since 19:52 Using the database has failed since 19:52: " +
			"connection refused Requests are sent again once the database can be used.",
	}},
	{"active replica", func(d *Data) {
		d.Replica = &Replica{Name: "a/1", Active: true, Holder: "a/1", Held: true, Since: minutesAgo(61)}
	}, []string{
		"Working Users", "Replicas This replica, a/1, has been active for 1 h 1 min. The others are on standby",
	}},
	{"standby", func(d *Data) { d.Replica = &Replica{Name: "a/1", Holder: "b/1", Held: true, Since: minutesAgo(5)} },
		[]string{
			"Working, on standby Users",
			"Replicas This replica, a/1, is on standby. As of the last scrape, b/1 has been active for 4 min. " +
				"This replica becomes active at a scrape",
		}},
	{"standby with another clock", func(d *Data) {
		d.Replica = &Replica{Name: "a/1", Holder: "b/1", Held: true, Since: minutesAgo(5), Refused: "the clock differs"}
	}, []string{
		"Working, with warnings This replica cannot become active: the clock differs Synchronize the clocks",
	}},
	{"no active replica", func(d *Data) {
		d.Replica = &Replica{Name: "a/1", Holder: "b/1", Refused: "the clock differs"}
	}, []string{
		"Partly working: no replica is active This replica cannot become active: the clock differs",
		"Replicas No replica is active. This replica, a/1, becomes active at its next scrape if it can.",
	}},
	{"token file removed", func(d *Data) { d.TokenError = LastError{"no such file", minutesAgo(8)} }, []string{
		"Working, with warnings Reading the token has failed since 19:52, and the last valid one is used: no such file " +
			"Restore the file",
	}},
	{"shutting down", func(d *Data) { d.Closing = true }, []string{
		"Partly working: the exporter is shutting down The exporter is shutting down and starts no more requests. " +
			"It waits for requests in flight, at most for api.timeout.",
	}},
}

// TestSummary checks what the page says about the exporter and its users.
func TestSummary(t *testing.T) {
	for _, test := range summaries {
		t.Run(test.name, func(t *testing.T) {
			data := newData(user(1, "one", 10, 5), user(2, "two", 20, 5))
			test.change(&data)
			got := summary(t, render(t, data, ""))
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in\n%s", want, got)
				}
			}
		})
	}
}

// TestBalance checks what the page says about the balance of the account, which is requested once an hour.
func TestBalance(t *testing.T) {
	for name, test := range map[string]struct {
		account quota.Account // with Balance, BalanceRequested and SpentPerDay
		want    string
	}{
		"not requested": {quota.Account{}, "Balance Not yet requested. Requests"},
		"requested without success": {quota.Account{BalanceRequested: minutesAgo(3)},
			"Balance Not known; last requested 3 min ago. The log has the error, if any. Requests"},
		"known": {quota.Account{
			BalanceRequested: minutesAgo(12),
			Balance:          quota.Balance{Amount: 12345.6, Currency: "CNY", At: minutesAgo(12)},
		}, "Balance 12,345.60 CNY, received 12 min ago Requests"},
		"spent": {quota.Account{
			BalanceRequested: minutesAgo(180), SpentPerDay: 10.204,
			Balance: quota.Balance{Amount: 123.45, Currency: "CNY", At: minutesAgo(180)},
		}, "Balance 123.45 CNY, received 3 h ago Lasts 12 days at the rate of the last day, 10.20 CNY per day. Requests"},
		"nearly spent": {quota.Account{
			BalanceRequested: minutesAgo(0), SpentPerDay: 10,
			Balance: quota.Balance{Amount: 9.99, Currency: "USD", At: minutesAgo(0)},
		}, "Balance 9.99 USD, received 0 s ago Lasts 0.9 days at the rate of the last day, 10.00 USD per day. Requests"},
		"overdrawn": {quota.Account{
			BalanceRequested: minutesAgo(1), SpentPerDay: 10,
			Balance: quota.Balance{Amount: -0.5, Currency: "CNY", At: minutesAgo(1)},
		}, "Balance −0.50 CNY, received 1 min ago Lasts 0.0 days at"},
		"expired": {quota.Account{
			BalanceRequested: minutesAgo(1), SpentPerDay: 10,
			Balance: quota.Balance{Amount: 100, Currency: "CNY", At: minutesAgo(181)},
		}, "Balance 100.00 CNY, received 3 h 1 min ago expired, no longer exposed " +
			"Last requested 1 min ago. The log has the error, if any. Requests"},
	} {
		t.Run(name, func(t *testing.T) {
			data := newData(user(1, "one", 10, 5))
			data.BalanceInterval = time.Hour
			data.Account.Balance, data.Account.SpentPerDay = test.account.Balance, test.account.SpentPerDay
			data.Account.BalanceRequested = test.account.BalanceRequested
			page := render(t, data, "")
			checkPage(t, page)
			if got := visibleText(t, page); !strings.Contains(got, test.want) {
				t.Errorf("want %q in\n%s", test.want, got)
			}
			data.BalanceInterval = 0
			if got := visibleText(t, render(t, data, "")); strings.Contains(got, "Balance") {
				t.Errorf("the balance is not requested, but shown in\n%s", got)
			}
		})
	}
}

// records is a [quota.Store] in memory.
type records map[string][]byte

func (r records) Put(_ int64, changes map[string][]byte) (wait func(context.Context) error) {
	maps.Copy(r, changes)
	return func(context.Context) error { return nil }
}

// TestInterrupted looks at a user's first request while it is being recorded, is in flight, is being completed, and
// after a kill, because only then its response is lost.
func TestInterrupted(t *testing.T) {
	const lost = "The exporter stopped before the response arrived."
	stored := make(records)
	newGuard := func() *quota.Guard {
		return quota.New(quota.Config{
			Limits: quota.Limits{
				Users: []quota.User{{WMID: 1, MinInterval: 15 * time.Minute}}, RetryInterval: time.Minute, Zone: time.UTC,
			},
			Now: func() time.Time { return now }, Store: stored, Records: maps.Clone(stored), Term: 1,
		})
	}
	expect := func(guard *quota.Guard, want string, interrupted bool) {
		t.Helper()
		data := newData(collector.UserSnapshot{User: collector.User{WMID: 1, Name: "one"}, State: guard.Users()[0]})
		data.Account = guard.Account()
		got := visibleText(t, render(t, data, ""))
		if !strings.Contains(got, want) || strings.Contains(got, lost) != interrupted {
			t.Errorf("want %q and interrupted: %v in\n%s", want, interrupted, got)
		}
	}
	guard := newGuard()
	expect(guard, "waiting one 1 next scrape", false)
	number, _, _ := guard.Start(1)
	expect(guard, "waiting one 1 in flight", false)
	expect(newGuard(), "waiting one 1 in 15 min", true) // another process, after a kill
	guard.Undo(1, number)
	expect(guard, "waiting one 1 next scrape", false)
	number, _, _ = guard.Start(1)
	guard.Finish(1, number, quota.Result{Verdict: quota.VerdictWait, Code: "timeout"}) // its record is not durable yet
	expect(guard, "failing one 1 in 15 min timeout", false)
	expect(newGuard(), "failing one 1 in 15 min timeout", false)
}
