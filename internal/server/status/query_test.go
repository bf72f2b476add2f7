package status

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

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
	a.User.Labels = map[string]string{"agency": "Moon", "tier": "1"}
	b.User.Labels = map[string]string{"agency": "moonshot"}
	d.User.Labels = map[string]string{"agency": "Moon"}
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
		"q=moon":                          "Anna dora ben",
		"q=AGENCY:moons":                  "ben",
		"label=agency:Moon":               "Anna dora",
		"label=agency:Moon&state=stale":   "Anna",
		"label=agency:moon":               "",
		"label=agency":                    "",
		"label=tier:1&q=anna":             "Anna",
		"label=":                          "Cora Anna dora ben",
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

const footer = " What the states mean · What the codes mean 1.2.3"

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
		if !strings.Contains(text, want.caption) || !strings.HasSuffix(text, strings.TrimSpace(want.links+footer)) {
			t.Errorf("%q: want %s and %s in %s", query, want.caption, want.links, text)
		}
	}
}

// TestLinksKeepTheQuery checks that every link changes one part of the query.
func TestLinksKeepTheQuery(t *testing.T) {
	u := user(1, "a&b", 1, 1)
	u.User.Labels = map[string]string{"k": "v:w", "l": "x"}
	page := render(t, newData(u),
		"q=a%26&sort=name&order=desc&state=fresh&page=3&label=l:x&lang=en&refresh=off")
	for _, want := range []string{
		// another column, the other direction
		`href="?label=l%3Ax&amp;lang=en&amp;order=desc&amp;q=a%26&amp;refresh=off&amp;sort=followers&amp;state=fresh"`,
		`href="?label=l%3Ax&amp;lang=en&amp;q=a%26&amp;refresh=off&amp;sort=name&amp;state=fresh"`,
		`aria-sort="descending"`,
		// another state, the selected state again (all states), another label, all users
		`href="?label=l%3Ax&amp;lang=en&amp;order=desc&amp;q=a%26&amp;refresh=off&amp;sort=name&amp;state=failing"`,
		`href="?label=l%3Ax&amp;lang=en&amp;order=desc&amp;q=a%26&amp;refresh=off&amp;sort=name"`,
		`href="?label=k%3Av%3Aw&amp;lang=en&amp;order=desc&amp;q=a%26&amp;refresh=off&amp;sort=name&amp;state=fresh"`,
		`href="?lang=en&amp;order=desc&amp;refresh=off&amp;sort=name"`,
		// the same page, refreshed or in another language
		`href="?label=l%3Ax&amp;lang=en&amp;order=desc&amp;page=3&amp;q=a%26&amp;sort=name&amp;state=fresh"`,
		`href="?label=l%3Ax&amp;lang=zh&amp;order=desc&amp;page=3&amp;q=a%26&amp;refresh=off&amp;sort=name&amp;state=fresh"`,
		`name="q" value="a&amp;"`, `name="state" value="fresh"`, `<option value="name" selected>Name</option>`,
		`name="order" value="desc"`, `name="label" value="l:x"`, `name="lang" value="en"`, `name="refresh" value="off"`,
		"1 user with l:x",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %s in\n%s", want, page)
		}
	}
}

// TestRefresh checks that the page is refreshed until the reader stops that.
func TestRefresh(t *testing.T) {
	const meta, stop = `<meta http-equiv="refresh" content="30">`, `<a href="?q=o&amp;refresh=off">Stop refreshing</a>`
	if page := render(t, newData(), "q=o"); !strings.Contains(page, meta) || !strings.Contains(page, stop) {
		t.Errorf("want %s and %s in\n%s", meta, stop, page)
	}
	const start = `<a href="?q=o">Refresh every 30 s</a>`
	if page := render(t, newData(), "q=o&refresh=off"); strings.Contains(page, meta) || !strings.Contains(page, start) {
		t.Errorf("want %s, and not %s in\n%s", start, meta, page)
	}
}

// TestDashboards checks the links to Grafana.
func TestDashboards(t *testing.T) {
	data := newData()
	data.Grafana = "https://grafana.example.org/sub"
	for query, dir := range map[string]string{"lang=en": "dashboards", "lang=zh": "zh-CN"} {
		page := render(t, data, query)
		for _, name := range []string{"creators", "exporter"} {
			path := "../../../examples/grafana/" + dir + "/" + name + ".json"
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var dashboard struct{ UID string }
			if err := json.Unmarshal(text, &dashboard); err != nil {
				t.Fatal(err)
			}
			want := `<a href="https://grafana.example.org/sub/d/` + dashboard.UID + `"`
			if !strings.Contains(page, want) {
				t.Errorf("%s: want %s in\n%s", query, want, page)
			}
		}
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
		if len(page) > 60_000+100*len(name)+200*maxText {
			t.Errorf("the page has %d bytes", len(page))
		}
	})
}
