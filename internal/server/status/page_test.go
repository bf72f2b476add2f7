package status

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// minutesAgo returns a time before now.
func minutesAgo(minutes int) time.Time { return now.Add(time.Duration(-minutes) * time.Minute) }

// user returns a user with an interval of 15 minutes and a value of some age.
func user(wmid int64, name string, followers int64, age int) collector.UserSnapshot {
	return collector.UserSnapshot{
		User: collector.User{WMID: wmid, Name: name}, Exposed: true,
		State: quota.UserState{
			User:  quota.User{WMID: wmid},
			Value: quota.Value{Followers: followers, Following: 7, At: minutesAgo(age)}, Completed: true,
			Interval: 15 * time.Minute, Due: minutesAgo(age - 15),
		},
	}
}

// failed returns a user whose latest call failed.
func failed(u collector.UserSnapshot, code, detail string) collector.UserSnapshot {
	u.State.Last = quota.Result{Verdict: quota.VerdictWait, Code: code, Bilibili: strings.HasPrefix(code, "-"), Detail: detail}
	return u
}

// dataOf returns the data of a healthy exporter.
func dataOf(users ...collector.UserSnapshot) Data {
	return Data{
		Now: now, Started: minutesAgo(300), LastScrape: now.Add(-20 * time.Second), Users: users,
		Account: quota.Account{Limit: 2000, Used: 1500, Remaining: 500, Reset: now.Add(4 * time.Hour), Ratio: 1},
		Zone:    time.FixedZone("Asia/Shanghai", 8*3600), Version: "1.2.3", Metrics: "metrics",
	}
}

// render returns the page for a query.
func render(t testing.TB, data Data, query string) string {
	t.Helper()
	values, _ := url.ParseQuery(query) // as net/http does: what is wrong is left out
	var page bytes.Buffer
	if err := Render(&page, data, values); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// textOf returns what a person reads on a page.
func textOf(t testing.TB, page string) string {
	t.Helper()
	var words []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for skipped := false; ; {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatal(tokens.Err())
			}
			return strings.ReplaceAll(strings.Join(words, " "), unbroken, " ")
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

// TestVerdict asks whether it works, and why not.
func TestVerdict(t *testing.T) {
	healthy := func() Data { return dataOf(user(1, "one", 10, 5), user(2, "two", 20, 5)) }
	for _, test := range []struct {
		name   string
		change func(*Data)
		want   []string
	}{
		{"healthy", func(*Data) {}, []string{
			"Working Users 2 fresh 0 stale 0 failing", "1,500 of 2,000 requests used, 500 left",
			"A new day begins at 00:00 in Asia/Shanghai, in 4 h.", "Last scrape 20 s ago; started 5 h ago.",
		}},
		{"failing", func(d *Data) { d.Users[1] = failed(d.Users[1], "-404", `message "啥都木有"`) }, []string{
			"Partly working: 1 of 2 users failing", `-404: Bilibili: no such user: message "啥都木有" Check the WMID`,
		}},
		{"all failing", func(d *Data) {
			d.Users = []collector.UserSnapshot{failed(user(1, "one", 10, 5), "timeout", "")}
		}, []string{"Not working: 1 of 1 user failing", "timeout: no answer in time No action is needed if it passes."}},
		{"code of both", func(d *Data) {
			d.Users[0] = failed(d.Users[0], "303", "")
			d.Users[0].State.Last.Bilibili = true
		}, []string{"303: Bilibili: not documented Check the WMID"}},
		{"stale", func(d *Data) { d.Users[0] = user(1, "one", 10, 31) }, []string{
			"Partly working: 1 of 2 users stale", "31 min next scrape A call is due since 16 min. If scrapes come and this stays, calls do not keep up",
		}},
		{"a short interval is late, but not stale", func(d *Data) {
			d.Users[0] = user(1, "one", 10, 4)
			d.Users[0].State.Interval = 20 * time.Second
		}, []string{"Working Users 2 fresh"}},
		{"being asked", func(d *Data) {
			d.Users[0].State = quota.UserState{InFlight: true, Started: now, Due: now.Add(time.Minute)}
		}, []string{"Starting: 1 of 2 users waiting", "waiting one 1 being asked fresh two"}},
		{"cut off", func(d *Data) {
			d.Users[0].State = quota.UserState{Started: minutesAgo(1), Due: now.Add(14 * time.Minute)}
		}, []string{"waiting one 1 in 14 min The answer was lost: the process ended before it came. Nothing to do"}},
		{"much stretched", func(d *Data) {
			d.Account.Ratio = 480
			d.Users[0].State.Interval, d.Users[0].State.Started, d.Users[0].State.Due = 5*24*time.Hour, minutesAgo(5), now.Add(5*24*time.Hour)
		}, []string{
			"Working, but look at this The budget is small: to make it last, every interval is 480.0 times as long as configured.",
			"To last until then, every interval is stretched by 480.00.", "5 min in 4 h",
		}},
		{"too old", func(d *Data) {
			d.Users[0] = user(1, "one", 10, 3*24*60)
			d.Users[0].Exposed = false
		}, []string{"1 of 2 users stale", "3 d too old: not on the metrics page"}},
		{"paused", func(d *Data) {
			d.Account.Pause = quota.Pause{Reason: quota.ReasonDailyQuota, Resume: now.Add(12*time.Minute + time.Second)}
		}, []string{
			"Partly working: calls are paused Calls are paused: the daily quota is used up (303). The next scrape after 20:12 in Asia/Shanghai, in 13 min probes whether they can go on. Requests resume",
			"5 min in 13 min",
		}},
		{"paused, probe due", func(d *Data) { d.Account.Pause = quota.Pause{Reason: quota.ReasonToken, Resume: now} },
			[]string{"Calls are paused: the token is invalid or inactive (100). The next scrape probes whether they can go on. Write a valid token"}},
		{"budget used up", func(d *Data) { d.Account.Used, d.Account.Remaining, d.Account.Ratio = 2001, 0, 2.5 }, []string{
			"Partly working: today’s budget is used up Today’s budget is used up: calls go on at 00:00 in Asia/Shanghai, in 4 h. Raise quota.daily_limit",
			"2,001 of 2,000 requests used, 0 left A new day begins at 00:00 in Asia/Shanghai, in 4 h. Scrapes", "5 min in 4 h",
		}},
		{"no limit", func(d *Data) { d.Account = quota.Account{Used: 1, Reset: now.Add(time.Minute), Ratio: 1} }, []string{"1 request today; no daily limit is configured"}},
		{"never scraped", func(d *Data) { d.LastScrape = time.Time{} }, []string{
			"Partly working: nobody scrapes Nobody has scraped for 5 h. Nothing is asked without a scrape.", "No scrape since the start, 5 h ago.",
		}},
		{"just started", func(d *Data) {
			d.LastScrape, d.Started, d.Users = time.Time{}, minutesAgo(1), []collector.UserSnapshot{{User: collector.User{WMID: 1, Name: "one"}}}
		}, []string{"Waiting for the first scrape Users 0 fresh 0 stale 0 failing 1 waiting", "waiting one 1 next scrape"}},
		{"starting", func(d *Data) { d.Users[0].State = quota.UserState{} }, []string{"Starting: 1 of 2 users waiting"}},
		{"scraped rarely, as configured", func(d *Data) {
			d.LastScrape, d.Users = minutesAgo(16), d.Users[:1]
			d.Users[0].State.Interval = time.Hour
		}, []string{"Working Users 1 fresh"}},
		{"paused, and no value", func(d *Data) {
			d.Account.Pause, d.Users = quota.Pause{Reason: quota.ReasonBalance, Resume: now}, []collector.UserSnapshot{failed(user(1, "one", 1, 1), "601", "")}
		}, []string{"Not working: calls are paused"}},
		{"paused, and the budget used up", func(d *Data) {
			d.Account.Pause, d.Account.Remaining = quota.Pause{Reason: quota.ReasonRateLimit, Resume: now.Add(30 * time.Second)}, 0
		}, []string{"The next scrape after 00:00 in Asia/Shanghai, in 4 h probes"}},
		{"no longer scraped", func(d *Data) { d.LastScrape = minutesAgo(16) }, []string{"Partly working: nobody scrapes Nobody has scraped for 16 min."}},
		{"reload failed", func(d *Data) { d.ReloadError = "b.yml:3: users: <x>" }, []string{"Working, but look at this The latest reload failed: b.yml:3: users: <x> Mend it"}},
		{"disk full", func(d *Data) { d.StorageError = "no space left" }, []string{"Working, but look at this The state is not on disk: no space left Look at the disk"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := healthy()
			test.change(&data)
			got := textOf(t, render(t, data, ""))
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in\n%s", want, got)
				}
			}
		})
	}
}

// rowNames returns the names in the table, from top to bottom.
func rowNames(page string) string {
	var names []string
	for _, match := range regexp.MustCompile(`<bdi>(.*?)</bdi>`).FindAllStringSubmatch(page, -1) {
		names = append(names, match[1])
	}
	return strings.Join(names, " ")
}

// TestQuery sorts, filters, searches and turns pages.
func TestQuery(t *testing.T) {
	a, b, c, d := user(40, "Anna", 100, 40), user(30, "ben", 3000, 1), user(20, "Cora", 20, 2), collector.UserSnapshot{User: collector.User{WMID: 10, Name: "dora"}}
	b.State.Previous = quota.Value{Followers: 3010, At: minutesAgo(16)}
	c.State.Previous = quota.Value{Followers: 15, At: minutesAgo(17)}
	c = failed(c, "301", "")
	d.State.WMID = 10
	data := dataOf(a, b, c, d)
	for query, want := range map[string]string{
		"":                                "Cora Anna dora ben", // the worst first
		"sort=state&order=desc":           "ben dora Anna Cora",
		"sort=name":                       "Anna ben Cora dora",
		"sort=name&order=desc":            "dora Cora ben Anna",
		"sort=wmid":                       "dora Cora ben Anna",
		"sort=followers":                  "Cora Anna ben dora", // without a value: last
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
		"q=%zz&sort=name":                 "Anna ben Cora dora", // the bad part is left out
		"sort=followers&sort=name&q=\x00": "",
	} {
		if got := rowNames(render(t, data, query)); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

// TestPages turns pages through 250 users.
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
		page := render(t, dataOf(users...), query)
		names := append(strings.Fields(rowNames(page)), "")
		if names[0] != want.first || len(names) > 1 && names[len(names)-2] != want.last {
			t.Errorf("%q: got %s", query, names)
		}
		text := textOf(t, page)
		if !strings.Contains(text, want.caption) || !strings.HasSuffix(text, strings.TrimSpace(want.links+" 1.2.3")) {
			t.Errorf("%q: want %s and %s in %s", query, want.caption, want.links, text)
		}
	}
}

// TestLinksKeepTheQuery follows links of a page: each changes one thing.
func TestLinksKeepTheQuery(t *testing.T) {
	page := render(t, dataOf(user(1, "a&b", 1, 1)), "q=a%26&sort=name&order=desc&state=fresh&page=3")
	for _, want := range []string{
		`href="?order=desc&amp;q=a%26&amp;sort=followers&amp;state=fresh"`, // another column
		`href="?q=a%26&amp;sort=name&amp;state=fresh"`,                     // the other direction
		`aria-sort="descending"`,
		`href="?order=desc&amp;q=a%26&amp;sort=name&amp;state=failing"`, // another state
		`href="?order=desc&amp;q=a%26&amp;sort=name"`,                   // the chosen state, again: all
		`href="?order=desc&amp;sort=name"`,                              // all users
		`name="q" value="a&amp;"`, `name="state" value="fresh"`, `<option value="name" selected>Name</option>`, `name="order" value="desc"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %s in\n%s", want, page)
		}
	}
}

// hostile are names and queries that must stay text.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "'; alert(1)//", "</style><script>x</script>",
	"{{.Token}}", "\u202e\u0000\x01", strings.Repeat("长", 5000), "&lt;", "\xff\xfe",
}

// TestHostileNames escapes whatever comes from outside.
func TestHostileNames(t *testing.T) {
	for _, text := range hostile {
		data := dataOf(failed(user(1, text, 1, 1), "-1", text))
		data.ReloadError, data.StorageError, data.Version = text, text, text
		checkPage(t, render(t, data, "q="+url.QueryEscape(text)+"&sort="+url.QueryEscape(text)))
		checkPage(t, render(t, data, ""))
	}
}

// checkPage looks for elements and attributes that are not the template's own.
func checkPage(t testing.TB, page string) {
	t.Helper()
	allowed := " html head meta title link style body header h1 nav a main p ul li strong div section h2 b progress form input select option button table caption thead tr th tbody td span bdi time small footer "
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
		if !strings.Contains(allowed, " "+token.Data+" ") {
			t.Errorf("unexpected element %s", token)
		}
		for _, attribute := range token.Attr {
			if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style" || attribute.Key == "src" {
				t.Errorf("unexpected attribute in %s", token)
			}
			if attribute.Key == "href" && !regexp.MustCompile(`^(\?|\./metrics$|config$|-/healthy$|-/ready$|data:,$|https://space\.bilibili\.com/\d+$)`).MatchString(attribute.Val) {
				t.Errorf("unexpected link %s", attribute.Val)
			}
		}
	}
}

// TestPolicy allows the style that the page has, and nothing else.
func TestPolicy(t *testing.T) {
	page := render(t, dataOf(), "")
	_, rest, _ := strings.Cut(page, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	if !strings.Contains(Policy, "style-src '"+hash(style)+"'") || strings.Contains(Policy, "unsafe") || !strings.HasPrefix(Policy, "default-src 'none'") {
		t.Errorf("the policy %s does not fit the style", Policy)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min", 61 * time.Minute: "1 h 1 min",
		24 * time.Hour: "1 d", 49*time.Hour + 59*time.Minute: "2 d 1 h", 100 * 365 * 24 * time.Hour: "36,500 d",
	} {
		if got := strings.ReplaceAll(span(d), unbroken, " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestWait(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Nanosecond: "1 s", 59*time.Second + 1: "1 min", time.Minute: "1 min", time.Minute + 1: "2 min", 4*time.Hour - 1: "4 h",
	} {
		if got := strings.ReplaceAll(wait(d), unbroken, " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 4153991: "4,153,991", -1234: "−1,234", -9223372036854775808: "−9,223,372,036,854,775,808"} {
		if got := number(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	if got := signed(12) + signed(0) + signed(-12); got != "+120−12" {
		t.Errorf("got %s", got)
	}
}

// FuzzQuery looks for queries that break the page, or break out of it.
func FuzzQuery(f *testing.F) {
	for _, text := range hostile {
		f.Add("q="+url.QueryEscape(text), text)
	}
	f.Add("sort=followers&order=desc&state=failing&page=2&q=%zz;", "a")
	data := dataOf(user(1, "a", 100, 40), user(2, "b", 3000, 1))
	f.Fuzz(func(t *testing.T, query, name string) {
		data.Users = append(data.Users[:2:2], user(3, name, 1, 1))
		page := render(t, data, query)
		checkPage(t, page)
		if len(page) > 60_000+100*len(name)+100*maxSearch {
			t.Errorf("the page has %d bytes", len(page))
		}
	})
}
