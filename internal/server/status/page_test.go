package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// minutesAgo returns a time before now.
func minutesAgo(minutes int) time.Time { return now.Add(time.Duration(-minutes) * time.Minute) }

// user returns a user with an interval of 15 minutes and a value of some age, in minutes.
func user(wmid int64, name string, followers int64, age int) collector.UserSnapshot {
	u := collector.UserSnapshot{User: collector.User{WMID: wmid, Name: name}, Exposed: true}
	u.State.WMID, u.State.Interval, u.State.Due = wmid, 15*time.Minute, minutesAgo(age-15)
	u.State.Value = quota.Value{Followers: followers, Following: 7, At: minutesAgo(age)}
	u.State.Completed = true
	return u
}

// failed returns a user whose last request failed.
func failed(u collector.UserSnapshot, code, detail string) collector.UserSnapshot {
	u.State.Last = quota.Result{
		Verdict: quota.VerdictWait, Code: code, Bilibili: strings.HasPrefix(code, "-"), Detail: detail,
	}
	return u
}

// newData returns the data of a healthy exporter.
func newData(users ...collector.UserSnapshot) Data {
	return Data{
		Now: now, Started: minutesAgo(300), LastScrape: now.Add(-20 * time.Second), Users: users,
		Account: quota.Account{Limit: 2000, Used: 1500, Remaining: 500, Reset: now.Add(4 * time.Hour), Ratio: 1},
		Zone:    time.FixedZone("Asia/Shanghai", 8*3600), Version: "1.2.3", Metrics: "metrics",
		Advice: advice.Advice{Token: advice.TokenConfig},
	}
}

// render returns the page for a query.
func render(t testing.TB, data Data, query string) string {
	t.Helper()
	values, _ := url.ParseQuery(query) // like net/http, which ignores invalid parts
	var page bytes.Buffer
	if err := Render(&page, data, values); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// visibleText returns the text that a page shows.
func visibleText(t testing.TB, page string) string {
	t.Helper()
	var words []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for skipped := false; ; {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatal(tokens.Err())
			}
			return strings.ReplaceAll(strings.Join(words, " "), nbsp, " ")
		case html.StartTagToken, html.EndTagToken:
			name, _ := tokens.TagName()
			skipped = kind == html.StartTagToken && (string(name) == "style" || string(name) == "title")
		case html.TextToken:
			if text := strings.TrimSpace(string(tokens.Text())); text != "" && !skipped {
				words = append(words, html.UnescapeString(text))
			}
		}
	}
}

// TestSummary checks what the page says about the exporter and its users.
func TestSummary(t *testing.T) {
	healthy := func() Data { return newData(user(1, "one", 10, 5), user(2, "two", 20, 5)) }
	for _, test := range []struct {
		name   string
		change func(*Data)
		want   []string
	}{
		{"healthy", func(*Data) {}, []string{
			"Working Users 2 fresh 0 stale 0 failing", "1,500 of 2,000 requests charged, 500 left",
			"Resets at 00:00 Asia/Shanghai (in 4 h).", "Last scrape 20 s ago; started 5 h ago.",
		}},
		{"failing", func(d *Data) { d.Users[1] = failed(d.Users[1], "-404", `message "啥都木有"`) }, []string{
			"Partly working: 1 of 2 users failing", `-404: Bilibili: no such user: message "啥都木有" Check the WMID`,
		}},
		{"all failing", func(d *Data) {
			d.Users = []collector.UserSnapshot{failed(user(1, "one", 10, 5), "timeout", "")}
		}, []string{
			"Not working: 1 of 1 user failing", "timeout: no response in time No action is needed if it passes.",
		}},
		{"code of both", func(d *Data) {
			d.Users[0] = failed(d.Users[0], "303", "")
			d.Users[0].State.Last.Bilibili = true
		}, []string{"303: Bilibili: not documented No action is needed"}},
		{"stale", func(d *Data) { d.Users[0] = user(1, "one", 10, 31) }, []string{
			"Partly working: 1 of 2 users stale", "31 min next scrape A request has been due for 16 min. " +
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
		}, []string{"1 of 2 users stale", "3 d expired, no longer exposed"}},
		{"paused", func(d *Data) {
			d.Account.Pause = quota.Pause{Reason: quota.ReasonDailyQuota, Resume: now.Add(12*time.Minute + time.Second)}
		}, []string{
			"Partly working: requests are paused Requests are paused: daily quota exceeded (303). " +
				"Next probe: first scrape after 20:12 Asia/Shanghai (in 13 min). Requests resume",
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
			"Partly working: requests are paused, the upstream is failing Requests are paused: the upstream is failing. " +
				"Next probe: first scrape after 20:12 Asia/Shanghai (in 12 min). No action is needed: single requests probe",
			"-503: Bilibili: overloaded or unavailable No action is needed if it passes: Bilibili is failing",
			"5 min in 12 min",
		}},
		{"outage, and no value", func(d *Data) {
			d.Account.Pause = quota.Pause{Reason: quota.ReasonOutage, Resume: now}
			d.Users = []collector.UserSnapshot{failed(user(1, "one", 1, 1), "timeout", "")}
		}, []string{
			"Not working: requests are paused, the upstream is failing " +
				"Requests are paused: the upstream is failing. Next probe: first scrape after 20:14 Asia/Shanghai (in 14 min).",
		}},
		{"budget used up", func(d *Data) {
			d.Account.Used, d.Account.Remaining, d.Account.Ratio = 2001, 0, 2.5
		}, []string{
			"Partly working: today’s budget is used up Today’s budget is used up. " +
				"Requests resume at 00:00 Asia/Shanghai (in 4 h). Raise quota.daily_limit",
			"2,001 of 2,000 requests charged, 0 left Resets at 00:00 Asia/Shanghai (in 4 h). Scrapes", "5 min in 4 h",
		}},
		{"no limit", func(d *Data) {
			d.Account = quota.Account{Used: 1, Reset: now.Add(time.Minute), Ratio: 1}
		}, []string{"1 request charged today; no daily limit is configured"}},
		{"never scraped", func(d *Data) { d.LastScrape = time.Time{} }, []string{
			"Partly working: the exporter is not scraped No scrape for 5 h. Requests are made only on scrapes.",
			"No scrape since startup 5 h ago.",
		}},
		{"just started", func(d *Data) {
			d.LastScrape, d.Started = time.Time{}, minutesAgo(1)
			d.Users = []collector.UserSnapshot{{User: collector.User{WMID: 1, Name: "one"}}}
		}, []string{
			"Waiting for the first scrape Users 0 fresh 0 stale 0 failing 1 waiting", "waiting one 1 next scrape",
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
		}, []string{"Not working: requests are paused"}},
		{"paused, and the budget used up", func(d *Data) {
			d.Account.Pause = quota.Pause{Reason: quota.ReasonRateLimit, Resume: now.Add(30 * time.Second)}
			d.Account.Remaining = 0
		}, []string{"Next probe: first scrape after 00:00 Asia/Shanghai (in 4 h)."}},
		{"no longer scraped", func(d *Data) { d.LastScrape = minutesAgo(16) }, []string{
			"Partly working: the exporter is not scraped No scrape for 16 min.",
		}},
		{"reload failed", func(d *Data) { d.ReloadError = "b.yml:3: users: <x>" }, []string{
			"Working, with warnings Error reloading configuration, keeping the previous one: b.yml:3: users: <x> Fix it",
		}},
		{"disk full", func(d *Data) { d.StorageError = "no space left" }, []string{
			"Working, with warnings Error writing persistent state: no space left Check the disk",
		}},
		{"database down", func(d *Data) {
			d.StorageError, d.Replica = "connection refused", &Replica{Name: "a/1", Active: true, Since: minutesAgo(5)}
		}, []string{
			"Partly working: the database cannot be used Error using the database: connection refused " +
				"Requests are sent again once the database can be used.",
		}},
		{"active replica", func(d *Data) {
			d.Replica = &Replica{Name: "a/1", Active: true, Holder: "a/1", Held: true, Since: minutesAgo(61)}
		}, []string{
			"Working Users", "Replicas This replica, a/1, has been active for 1 h 1 min. The others are on standby",
		}},
		{"standby", func(d *Data) { d.Replica = &Replica{Name: "a/1", Holder: "b/1", Held: true, Since: minutesAgo(5)} },
			[]string{
				"Working, on standby Users",
				"Replicas This replica, a/1, is on standby. b/1 has been active for 5 min. This replica becomes active at a scrape",
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
		{"token file removed", func(d *Data) { d.TokenError = "no such file" }, []string{
			"Working, with warnings Error reading the token, using the last valid one: no such file Restore the file",
		}},
		{"shutting down", func(d *Data) { d.Closing = true }, []string{
			"Partly working: the exporter is shutting down The exporter is shutting down and starts no more requests. " +
				"It waits for requests in flight, at most for api.timeout.",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := healthy()
			test.change(&data)
			got := visibleText(t, render(t, data, ""))
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
		"not requested": {quota.Account{}, "Balance Not yet requested. Scrapes"},
		"requested without success": {quota.Account{BalanceRequested: minutesAgo(3)},
			"Balance Not known; last requested 3 min ago. The log has the error, if any. Scrapes"},
		"known": {quota.Account{
			BalanceRequested: minutesAgo(12),
			Balance:          quota.Balance{Amount: 12345.6, Currency: "CNY", At: minutesAgo(12)},
		}, "Balance 12,345.60 CNY, received 12 min ago Scrapes"},
		"spent": {quota.Account{
			BalanceRequested: minutesAgo(180), SpentPerDay: 10.204,
			Balance: quota.Balance{Amount: 123.45, Currency: "CNY", At: minutesAgo(180)},
		}, "Balance 123.45 CNY, received 3 h ago Lasts 12 days at the rate of the last day, 10.20 CNY per day. Scrapes"},
		"nearly spent": {quota.Account{
			BalanceRequested: minutesAgo(0), SpentPerDay: 10,
			Balance: quota.Balance{Amount: 9.99, Currency: "USD", At: minutesAgo(0)},
		}, "Balance 9.99 USD, received 0 s ago Lasts 0.9 days at the rate of the last day, 10.00 USD per day. Scrapes"},
		"overdrawn": {quota.Account{
			BalanceRequested: minutesAgo(1), SpentPerDay: 10,
			Balance: quota.Balance{Amount: -0.5, Currency: "CNY", At: minutesAgo(1)},
		}, "Balance −0.50 CNY, received 1 min ago Lasts 0.0 days at"},
		"expired": {quota.Account{
			BalanceRequested: minutesAgo(1), SpentPerDay: 10,
			Balance: quota.Balance{Amount: 100, Currency: "CNY", At: minutesAgo(181)},
		}, "Balance 100.00 CNY, received 3 h 1 min ago expired, no longer exposed " +
			"Last requested 1 min ago. The log has the error, if any. Scrapes"},
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

// rowNames returns the names in the table, from top to bottom.
func rowNames(page string) string {
	var names []string
	for _, match := range regexp.MustCompile(`<bdi>(.*?)</bdi>`).FindAllStringSubmatch(page, -1) {
		names = append(names, match[1])
	}
	return strings.Join(names, " ")
}

// TestQuery sorts, filters, searches and selects pages.
func TestQuery(t *testing.T) {
	a, b, c := user(40, "Anna", 100, 40), user(30, "ben", 3000, 1), user(20, "Cora", 20, 2)
	d := collector.UserSnapshot{User: collector.User{WMID: 10, Name: "dora"}}
	b.State.Previous = quota.Value{Followers: 3010, At: minutesAgo(16)}
	c.State.Previous = quota.Value{Followers: 15, At: minutesAgo(17)}
	c = failed(c, "301", "")
	d.State.WMID = 10
	data := newData(a, b, c, d)
	for query, want := range map[string]string{
		"":                                "Cora Anna dora ben", // the worst state first
		"sort=state&order=desc":           "ben dora Anna Cora",
		"sort=name":                       "Anna ben Cora dora",
		"sort=name&order=desc":            "dora Cora ben Anna",
		"sort=wmid":                       "dora Cora ben Anna",
		"sort=followers":                  "Cora Anna ben dora", // empty cells last
		"sort=followers&order=desc":       "ben Anna Cora dora",
		"sort=change":                     "ben Cora Anna dora",
		"sort=change&order=desc":          "Cora ben Anna dora",
		"sort=age&order=desc":             "Anna Cora ben dora",
		"sort=next":                       "dora Anna Cora ben",
		"sort=error":                      "Cora Anna dora ben",
		"sort=nonsense&order=sideways":    "Cora Anna dora ben",
		"q=OR":                            "Cora dora",
		"q=0":                             "Cora Anna dora ben", // a digit of all WMIDs
		"q=30":                            "ben",
		"q=+ben+":                         "ben",
		"q=nobody":                        "",
		"state=fresh":                     "ben",
		"state=stale":                     "Anna",
		"state=waiting":                   "dora",
		"state=failing&q=a":               "Cora",
		"state=odd":                       "Cora Anna dora ben",
		"page=7":                          "Cora Anna dora ben",
		"page=-1&page=2":                  "Cora Anna dora ben",
		"page=99999999999999999999":       "Cora Anna dora ben",
		"q=%zz&sort=name":                 "Anna ben Cora dora", // the invalid part is ignored
		"sort=followers&sort=name&q=\x00": "",
	} {
		if got := rowNames(render(t, data, query)); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

// TestPages selects pages of 250 users.
func TestPages(t *testing.T) {
	var users []collector.UserSnapshot
	for i := range 250 {
		users = append(users, user(int64(i+1), fmt.Sprintf("u%d", i+1), int64(i), 1))
	}
	for query, want := range map[string]struct{ first, last, caption, links string }{
		"":              {"u1", "u100", "Users 1 to 100 of 250", "Next Last"},
		"page=2":        {"u101", "u200", "Users 101 to 200 of 250", "First Previous Next Last"},
		"page=9":        {"u201", "u250", "Users 201 to 250 of 250", "First Previous"},
		"q=u25":         {"u25", "u250", "2 users", ""},
		"q=nobody":      {"", "", "No user matches", ""},
		"q=u&sort=name": {"u1", "u189", "Users 1 to 100 of 250", "Next Last"},
		"page=2&q=u12":  {"u12", "u129", "11 users", ""},
	} {
		page := render(t, newData(users...), query)
		names := append(strings.Fields(rowNames(page)), "")
		if names[0] != want.first || len(names) > 1 && names[len(names)-2] != want.last {
			t.Errorf("%q: got %s", query, names)
		}
		text := visibleText(t, page)
		if !strings.Contains(text, want.caption) || !strings.HasSuffix(text, strings.TrimSpace(want.links+" 1.2.3")) {
			t.Errorf("%q: want %s and %s in %s", query, want.caption, want.links, text)
		}
	}
}

// TestLinksKeepTheQuery checks that every link changes one part of the query.
func TestLinksKeepTheQuery(t *testing.T) {
	page := render(t, newData(user(1, "a&b", 1, 1)), "q=a%26&sort=name&order=desc&state=fresh&page=3")
	for _, want := range []string{
		`href="?order=desc&amp;q=a%26&amp;sort=followers&amp;state=fresh"`, // another column
		`href="?q=a%26&amp;sort=name&amp;state=fresh"`,                     // the other direction
		`aria-sort="descending"`,
		`href="?order=desc&amp;q=a%26&amp;sort=name&amp;state=failing"`, // another state
		`href="?order=desc&amp;q=a%26&amp;sort=name"`,                   // the selected state again: all states
		`href="?order=desc&amp;sort=name"`,                              // all users
		`name="q" value="a&amp;"`, `name="state" value="fresh"`, `<option value="name" selected>Name</option>`,
		`name="order" value="desc"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %s in\n%s", want, page)
		}
	}
}

// hostile are names and queries that must be escaped.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "'; alert(1)//",
	"</style><script>x</script>", "{{.Token}}", "\u202e\u0000\x01", strings.Repeat("长", 5000), "&lt;", "\xff\xfe",
}

// TestHostileNames checks that all text from outside is escaped.
func TestHostileNames(t *testing.T) {
	for _, text := range hostile {
		data := newData(failed(user(1, text, 1, 1), "-1", text))
		data.ReloadError, data.StorageError, data.Version = text, text, text
		checkPage(t, render(t, data, "q="+url.QueryEscape(text)+"&sort="+url.QueryEscape(text)))
		checkPage(t, render(t, data, ""))
	}
}

var (
	allowedElements = strings.Fields("html head meta title link style body header h1 nav a main p ul li strong div " +
		"section h2 b progress form input select option button table caption thead tr th tbody td span bdi time small footer")
	allowedLink = regexp.MustCompile(
		`^(\?|\./metrics$|config$|-/healthy$|-/ready$|data:,$|https://space\.bilibili\.com/\d+$)`)
)

// checkPage looks for elements and attributes that are not in the template.
func checkPage(t testing.TB, page string) {
	t.Helper()
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return
		}
		token := tokens.Token()
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if !slices.Contains(allowedElements, token.Data) {
			t.Errorf("unexpected element %s", token)
		}
		for _, attribute := range token.Attr {
			if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style" || attribute.Key == "src" {
				t.Errorf("unexpected attribute in %s", token)
			}
			if attribute.Key == "href" && !allowedLink.MatchString(attribute.Val) {
				t.Errorf("unexpected link %s", attribute.Val)
			}
		}
	}
}

// TestPolicy checks that the policy allows only the page's own style.
func TestPolicy(t *testing.T) {
	page := render(t, newData(), "")
	_, rest, _ := strings.Cut(page, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	if !strings.Contains(Policy, "style-src '"+hash(style)+"'") || strings.Contains(Policy, "unsafe") ||
		!strings.HasPrefix(Policy, "default-src 'none'") {
		t.Errorf("the policy %s does not fit the style", Policy)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min",
		61 * time.Minute: "1 h 1 min", 24 * time.Hour: "1 d", 49*time.Hour + 59*time.Minute: "2 d 1 h",
		100 * 365 * 24 * time.Hour: "36,500 d",
	} {
		if got := strings.ReplaceAll(formatDuration(d), nbsp, " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestFormatWait(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Nanosecond: "1 s", 59*time.Second + 1: "1 min", time.Minute: "1 min", time.Minute + 1: "2 min",
		4*time.Hour - 1: "4 h",
	} {
		if got := strings.ReplaceAll(formatWait(d), nbsp, " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestFormatAmount(t *testing.T) {
	for amount, want := range map[float64]string{
		0: "0.00", -0.001: "0.00", 0.005: "0.01", -12.3: "−12.30", 1234567.891: "1,234,567.89", 999.999: "1,000.00",
		999_999_999_999_999: "999,999,999,999,999.00",
	} {
		if got := formatAmount(amount); got != want {
			t.Errorf("%v: got %s, want %s", amount, got, want)
		}
	}
}

func TestFormatDays(t *testing.T) {
	for days, want := range map[float64]string{
		-1: "0.0 days", 2.99: "2.9 days", 9.99: "9.9 days", 10: "10 days", 1234.5: "1,234 days",
		1e300: "more than 9,999 days",
	} {
		if got := strings.ReplaceAll(formatDays(days), nbsp, " "); got != want {
			t.Errorf("%v: got %s, want %s", days, got, want)
		}
	}
}

func TestFormatNumber(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 4153991: "4,153,991", -1234: "−1,234",
		-9223372036854775808: "−9,223,372,036,854,775,808",
	} {
		if got := formatNumber(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	if got := formatChange(12) + formatChange(0) + formatChange(-12); got != "+120−12" {
		t.Errorf("got %s", got)
	}
}

// FuzzQuery looks for queries and names that break the page or inject markup.
func FuzzQuery(f *testing.F) {
	for _, text := range hostile {
		f.Add("q="+url.QueryEscape(text), text)
	}
	f.Add("sort=followers&order=desc&state=failing&page=2&q=%zz;", "a")
	data := newData(user(1, "a", 100, 40), user(2, "b", 3000, 1))
	f.Fuzz(func(t *testing.T, query, name string) {
		data.Users = append(data.Users[:2:2], user(3, name, 1, 1))
		page := render(t, data, query)
		checkPage(t, page)
		if len(page) > 60_000+100*len(name)+100*maxSearch {
			t.Errorf("the page has %d bytes", len(page))
		}
	})
}
