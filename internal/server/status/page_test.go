package status

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
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
	bilibili := strings.HasPrefix(code, "-")
	u.State.Last = quota.Result{Verdict: quota.VerdictWait, Code: code, Bilibili: bilibili, Detail: detail}
	if justoneapi.Explain(code, bilibili).Scope == justoneapi.ScopeUser {
		u.State.Last.Verdict = quota.VerdictBackOff
	}
	u.State.Failing, u.State.FailingSince = code, u.State.Value.At.Add(time.Minute)
	return u
}

// newData returns the data of a healthy exporter.
func newData(users ...collector.UserSnapshot) Data {
	return Data{
		Now: now, Started: minutesAgo(300), LastScrape: now.Add(-20 * time.Second), Users: users,
		Account: quota.Account{Limit: 2000, Used: 1500, Remaining: 500, Reset: now.Add(4 * time.Hour), Ratio: 1},
		Zone:    time.FixedZone("Asia/Shanghai", 8*3600), Version: "1.2.3", Metrics: "metrics",
		Advice: advice.Advice{Token: advice.TokenConfig}, RequestRate: 0.5,
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
			return strings.ReplaceAll(strings.Join(words, " "), "\u00a0", " ")
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

// hostile are names and queries that must be escaped.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "'; alert(1)//",
	"</style><script>x</script>", "{{.Token}}", "\u202e\u0000\x01", strings.Repeat("长", 5000), "&lt;", "\xff\xfe",
}

// TestHostileNames checks that all text from outside is escaped.
func TestHostileNames(t *testing.T) {
	for _, text := range hostile {
		data := newData(failed(user(1, text, 1, 1), "-1", text))
		data.ReloadError.Text, data.StorageError.Text, data.TokenError.Text, data.Version = text, text, text, text
		checkPage(t, render(t, data, "q="+url.QueryEscape(text)+"&sort="+url.QueryEscape(text)))
		checkPage(t, render(t, data, ""))
	}
}

var (
	allowedElements = strings.Fields("html head meta title link style body header h1 nav a main p ul li strong div " +
		"section h2 b progress form input select option button table caption thead tr th tbody td span bdi time small footer")
	allowedLink = regexp.MustCompile(
		`^(\?|\./metrics$|config$|-/healthy$|-/ready$|data:,$|https://space\.bilibili\.com/\d+$|` +
			`https://github\.com/bilibili-exporter/bilibili_exporter/blob/main/(README|docs/\w+)\.md(#[\w-]+)?$)`)
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
