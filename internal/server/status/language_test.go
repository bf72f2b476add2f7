package status

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

// allowedEnglish matches what may be in English on the Chinese page: names, codes, and texts from outside.
var allowedEnglish = regexp.MustCompile(`bilibili_exporter|Asia/Shanghai|UTC|English|WMID|Prometheus|` +
	`Status → Targets|exporter|Bilibili|B 站|API|UP 主|HTTP|NTP|CSRF|token|User Relation Stats \(V1\)|` +
	`JUSTONEAPI_TOKEN|LoadCredential|systemd|` +
	`(api|quota)(\.[a-z_]+)+|https://space\.bilibili\.com/<wmid>|timeout|network|malformed|mismatch|http_\d+|\d+s\b|` +
	`CNY|USD|upstream detail|请求 ID|agency:none|replica/\d|file name`)

var latin = regexp.MustCompile(`[A-Za-z]+`)

// expectChinese checks that a page contains no English text, except for what may be.
func expectChinese(t *testing.T, page string) {
	t.Helper()
	texts := visibleText(t, page)
	for _, attribute := range regexp.MustCompile(`(?:title|aria-label|placeholder|data-title)="([^"]*)"`).
		FindAllStringSubmatch(page, -1) {
		texts += " " + attribute[1]
	}
	if left := latin.FindAllString(allowedEnglish.ReplaceAllString(texts, ""), -1); len(left) > 0 {
		t.Errorf("the Chinese page contains %q:\n%s", left, texts)
	}
}

// TestChineseSummaries renders the page in Chinese in all cases of the summary.
func TestChineseSummaries(t *testing.T) {
	for _, test := range summaries {
		t.Run(test.name, func(t *testing.T) {
			data := newData(user(1, "一", 10, 5), user(2, "二", 20, 5))
			test.change(&data)
			for _, text := range []*string{&data.ReloadError.Text, &data.StorageError.Text, &data.TokenError.Text} {
				if *text != "" {
					*text = "upstream detail"
				}
			}
			if data.Damage != nil {
				data.Damage = &Damage{Error: "upstream detail", RenamedTo: "file name"}
			}
			if r := data.Replica; r != nil {
				r.Name, r.Holder = "replica/1", "replica/2"
				r.Refused = strings.ReplaceAll(r.Refused, "the clock differs", "upstream detail")
			}
			for i := range data.Users {
				data.Users[i].User.Name, data.Users[i].User.Labels = "名", nil
				data.Users[i].State.Last.Detail = "upstream detail"
			}
			data.Version = ""
			expectChinese(t, render(t, data, "lang=zh"))
		})
	}
}

// TestChineseCodes renders failures with all codes, and pauses for all reasons, in Chinese.
func TestChineseCodes(t *testing.T) {
	var users []collector.UserSnapshot
	for _, code := range append(justoneapi.KnownCodes(), "http_502", "999", "-1") {
		for _, bilibili := range []bool{false, true} {
			u := failed(user(int64(len(users)+1), "名", 1, 1), code, "upstream detail")
			u.State.Last.Bilibili = bilibili
			users = append(users, u)
		}
	}
	data := newData(users...)
	data.Version = ""
	for _, source := range []advice.TokenSource{
		advice.TokenEnvironment, advice.TokenConfig, advice.TokenFile, advice.TokenCredential,
	} {
		data.Advice.Token = source
		expectChinese(t, render(t, data, "lang=zh"))
	}
	data.Users = users[:1]
	for _, reason := range quota.Reasons() {
		data.Account.Pause = quota.Pause{Reason: reason, Resume: now.Add(time.Hour), Since: now.Add(-time.Hour)}
		expectChinese(t, render(t, data, "lang=zh"))
	}
}

// TestChineseBalances renders the balance, and what depends on the query, in Chinese.
func TestChineseBalances(t *testing.T) {
	u := user(1, "名", 1, 1)
	u.User.Labels = map[string]string{"agency": "none"}
	u.State.Previous = quota.Value{Followers: 3, At: minutesAgo(20)}
	data := newData(slices.Repeat([]collector.UserSnapshot{u}, 301)...)
	data.Version, data.BalanceInterval = "", time.Hour
	for _, balance := range []quota.Balance{
		{}, {Amount: 1, Currency: "CNY", At: now}, {Amount: 1e9, Currency: "CNY", At: now},
		{Amount: 1, Currency: "USD", At: now.Add(-30 * time.Hour)},
	} {
		data.Account.Balance, data.Account.SpentPerDay = balance, 0.1
		expectChinese(t, render(t, data, "lang=zh&label=agency:none&page=2&refresh=off"))
		data.Account.BalanceRequested = minutesAgo(1)
		expectChinese(t, render(t, data, "lang=zh&q=1"))
	}
}

// TestLanguage checks how the language of the page is chosen.
func TestLanguage(t *testing.T) {
	data := newData(user(1, "one", 1, 1))
	for _, test := range []struct{ header, query, want, link string }{
		{"", "", `<html lang="en">`, `<a href="?lang=zh">中文</a>`},
		{"zh-CN,zh;q=0.9", "", `<html lang="zh-CN">`, `<a href="?lang=en">English</a>`},
		{"zh-CN", "lang=en&q=o", `<html lang="en">`, `<a href="?lang=zh&amp;q=o">中文</a>`},
		{"en", "lang=zh&page=1&state=fresh", `<html lang="zh-CN">`, `<a href="?lang=en&amp;state=fresh">English</a>`},
		{"zh", "lang=de", `<html lang="zh-CN">`, `<a href="?lang=en">English</a>`},
	} {
		data.AcceptLanguage = test.header
		page := render(t, data, test.query)
		for _, want := range []string{test.want, test.link} {
			if !strings.Contains(page, want) {
				t.Errorf("%q, %q: want %s in\n%s", test.header, test.query, want, page)
			}
		}
	}
}
