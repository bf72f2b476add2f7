//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

var layoutNow = time.Date(2026, 11, 23, 2, 12, 30, 0, time.UTC)

func minutesAgo(minutes int) time.Time { return layoutNow.Add(time.Duration(-minutes) * time.Minute) }

// layoutUsers returns users with up-to-date values, names and labels of all kinds.
func layoutUsers(n int) []collector.UserSnapshot {
	names := []string{
		"碧诗", "午夜拉面 Midnight Ramen", "a_name_without_any_space_that_a_browser_could_break_" + strings.Repeat("x", 40),
		strings.Repeat("很长的名字", 8), "Pixel Cat",
	}
	wmids := []int64{2, 472747194, 3546564939877816}
	var users []collector.UserSnapshot
	for i := range n {
		u := collector.UserSnapshot{Exposed: true, User: collector.User{
			WMID: wmids[i%3] + int64(i), Name: names[i%len(names)],
			Labels: map[string]string{"agency": []string{"north", "south"}[i%2], "tier": "1"},
		}}
		u.State.WMID, u.State.Completed, u.State.Interval = u.User.WMID, true, 15*time.Minute
		u.State.Started, u.State.Due = minutesAgo(i%14), minutesAgo(i%14-15)
		u.State.Value = quota.Value{Followers: 4_153_991 >> (i % 9), Following: 11, At: minutesAgo(i % 14)}
		u.State.Previous = quota.Value{Followers: u.State.Value.Followers - 1234, At: minutesAgo(i%14 + 15)}
		users = append(users, u)
	}
	return users
}

// layoutData returns the data of an exporter that works.
func layoutData(users int) status.Data {
	return status.Data{
		Now: layoutNow, Started: minutesAgo(3000), LastScrape: layoutNow.Add(-20 * time.Second), Users: layoutUsers(users),
		Account: quota.Account{Limit: 20_000, Used: 7310, Remaining: 12_690, Reset: minutesAgo(-828), Ratio: 1},
		Zone:    time.FixedZone("Asia/Shanghai", 8*60*60), Metrics: "metrics", Version: "bilibili_exporter 1.0.0 (4d7c1f2)",
		RequestRate: 1.3, Grafana: "https://grafana.example.org",
	}
}

// fail makes a user's last request fail.
func fail(u *collector.UserSnapshot, verdict quota.Verdict, code, detail string, minutes int) {
	u.State.Last = quota.Result{
		Verdict: verdict, Code: code, Bilibili: strings.HasPrefix(code, "-"), Detail: detail,
	}
	u.State.Value.At, u.State.FailingSince = minutesAgo(minutes+7), minutesAgo(minutes)
	u.State.Previous.At = minutesAgo(minutes + 22)
}

// layouts are the states in which the page is looked at, and the headline in both languages.
var layouts = []struct {
	name             string
	users            int
	change           func(*status.Data)
	english, chinese string
}{
	{"healthy", 6, func(*status.Data) {}, "Working", "工作正常"},
	{"unavailable", 6, func(d *status.Data) {
		fail(&d.Users[1], quota.VerdictBackOff, "-404", `message "啥都木有"`, 60)
	}, "Working, 1 of 6 users unavailable", "工作正常，6 位用户中有 1 位不可用"},
	{"outage", 3000, func(d *status.Data) {
		for i := range d.Users {
			d.Users[i].State.Value.At, d.Users[i].State.Previous.At = minutesAgo(31+i%14), minutesAgo(46+i%14)
			d.Users[i].State.Due = minutesAgo(16)
			if i%200 == 0 {
				fail(&d.Users[i], quota.VerdictWait, "timeout", "no response after 60 s", 31)
			}
		}
		d.Account.Pause = quota.Pause{Reason: quota.ReasonOutage, Resume: minutesAgo(-7), Since: minutesAgo(31)}
	}, "Not working: 3,000 of 3,000 users without a new value, requests failing with timeout since 09:41",
		"工作异常：自 09:41 起，3,000 位用户中有 3,000 位没有新的数值，请求失败（timeout）"},
	{"failing", 3000, func(d *status.Data) {
		for i := range d.Users {
			fail(&d.Users[i], quota.VerdictWait, "timeout", "no response after 60 s", 31)
		}
	}, "Not working: 3,000 of 3,000 users failing with timeout since 09:41",
		"工作异常：自 09:41 起，3,000 位用户中有 3,000 位请求失败（timeout）"},
	{"paused", 6, func(d *status.Data) {
		d.Account.Pause = quota.Pause{Reason: quota.ReasonBalance, Resume: minutesAgo(-40), Since: minutesAgo(95)}
		d.Users[0].State.Due = minutesAgo(90)
		d.BalanceInterval = time.Hour
		d.Account.BalanceRequested, d.Account.SpentPerDay = minutesAgo(3), 102.4
		d.Account.Balance = quota.Balance{Amount: 0.02, Currency: "CNY", At: minutesAgo(3)}
	}, "Partly working: balance insufficient (601), requests paused since 08:37",
		"部分正常：自 08:37 起，余额不足（601），请求已暂停"},
	{"used-up", 6, func(d *status.Data) {
		d.Account.Used, d.Account.Remaining, d.Account.Ratio = 20_000, 0, 2.4
		d.Users[2].State.Due = minutesAgo(1)
	}, "Partly working: today’s budget is used up, requests resume at 00:00 (in 13 h 48 min)",
		"部分正常：今日预算已用尽，请求将于 00:00（13 小时 48 分钟后）恢复"},
	{"unscraped", 6, func(d *status.Data) {
		d.LastScrape, d.Started = time.Time{}, minutesAgo(1)
		d.Account.Used, d.Account.Remaining = 0, 20_000
		for i := range d.Users {
			d.Users[i].State, d.Users[i].Exposed = quota.UserState{}, false
		}
	}, "Waiting for the first scrape", "等待首次抓取"},
	{"expired", 6, func(d *status.Data) {
		for i := range d.Users {
			u := &d.Users[i]
			u.State.Value = quota.Value{Followers: 1_234_567_890, Following: 5000, At: minutesAgo(2000 * 60)}
			u.State.Previous = quota.Value{Followers: 1, At: minutesAgo(2400 * 60)}
			u.State.Due, u.Exposed = minutesAgo(1999*60), false
		}
		fail(&d.Users[0], quota.VerdictBackOff, "-626", `request ID "`+strings.Repeat("0123456789", 6)+`"`, 2000*60)
	}, "Not working: 5 of 6 users stale since 2026-09-01 02:42", "工作异常：自 2026-09-01 02:42 起，6 位用户中有 5 位数值陈旧"},
	{"standby", 6, func(d *status.Data) {
		d.Replica = &status.Replica{
			Name: "bilibili-exporter-1/1", Holder: "bilibili-exporter-0/1", Held: true, Since: minutesAgo(2990),
		}
	}, "Working, on standby", "工作正常，待命中"},
	{"damaged", 6, func(d *status.Data) {
		d.Started = minutesAgo(4)
		d.Damage = &status.Damage{
			RenamedTo: "data/state.db.corrupt-20261123T020830.123Z",
			Error:     "integrity check: row 3 missing from index sqlite_autoindex_records_1",
		}
		d.Account.Used, d.Account.Remaining = 8506, 11_494
	}, "Working, with warnings", "工作正常，但有警告"},
}

// cutOff lists what is wider than its place: the page, and elements whose content is hidden or outside of the window.
const cutOff = `(() => {
	const found = [];
	const width = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth > width) found.push("page of " + document.documentElement.scrollWidth);
	for (const e of document.body.querySelectorAll("*")) {
		if (e.closest("thead") && getComputedStyle(e.closest("thead")).position === "absolute") continue;
		const box = e.getBoundingClientRect();
		const name = e.tagName + " " + e.textContent.trim().slice(0, 40);
		if (box.width > 0 && (box.left < 0 || box.right > width + 0.5)) found.push("outside: " + name);
		const inline = getComputedStyle(e).display === "inline";
		const field = ["INPUT", "SELECT", "OPTION", "PROGRESS"].includes(e.tagName);
		if (!inline && !field && e.scrollWidth > e.clientWidth + 1) found.push("cut off: " + name);
	}
	return found.slice(0, 5);
})()`

// TestLayout looks at the page in all states, at several widths, in both languages, light and dark: nothing may be cut
// off. A little below 1290 pixels, each user gets a card in place of a row.
func TestLayout(t *testing.T) {
	t.Parallel()
	data := make(map[string]status.Data)
	for _, layout := range layouts {
		d := layoutData(layout.users)
		layout.change(&d)
		data["/"+layout.name] = d
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", status.Policy)
		if err := status.Render(w, data[r.URL.Path], r.URL.Query()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	b := startBrowser(t)
	for _, layout := range layouts {
		for _, l := range locale.Languages() {
			for _, width := range []int{360, 768, 1024, 1290, 1366} {
				b.do(chromedp.EmulateViewport(int64(width), 768))
				b.navigate(chromedp.Navigate(server.URL + "/" + layout.name + "?refresh=off&lang=" + l.Code))
				b.expectHeadline(map[*locale.Language]string{locale.English: layout.english, locale.Chinese: layout.chinese}[l])
				for _, scheme := range []string{"light", "dark"} {
					b.do(colorScheme(scheme))
					name := fmt.Sprintf("%s-%s-%d-%s", layout.name, l.Code, width, scheme)
					if found := run(b, chromedp.Evaluate[[]string](cutOff)); len(found) > 0 {
						t.Errorf("%s: %q", name, found)
					}
					b.screenshot(name)
				}
			}
		}
	}
	b.expectNoProblems(strings.TrimPrefix(server.URL, "http://"))
}

// expectHeadline checks the headline and the title.
func (b *browser) expectHeadline(want string) {
	b.t.Helper()
	text := run(b, chromedp.Evaluate[string]("document.querySelector('.headline').innerText"))
	if got := strings.ReplaceAll(text, "\u00a0", " "); got != want {
		b.t.Errorf("got headline %q, want %q", got, want)
	}
	if title := run(b, chromedp.Title()); !strings.HasPrefix(title, text) {
		b.t.Errorf("got title %q, want headline %q", title, text)
	}
}
