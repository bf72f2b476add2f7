package status

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// rowsPerPage is the number of users on a page.
const rowsPerPage = 100

// entry is a user with what rows and sorting need.
type entry struct {
	collector.UserSnapshot
	health health
	next   time.Time // when the next request may start
}

// newEntries returns an entry for each user, those with the worst health first, otherwise in the configured order.
func newEntries(data Data) []*entry {
	entries := make([]*entry, 0, len(data.Users))
	for _, user := range data.Users {
		entries = append(entries, &entry{user, newHealth(user, data.Now), nextRequest(data, user)})
	}
	slices.SortStableFunc(entries, func(a, b *entry) int { return a.health.rank() - b.health.rank() })
	return entries
}

// nextRequest returns when the next request for a user may start, as far as is known now. Today's stretching does not
// apply after the quota day.
func nextRequest(data Data, user collector.UserSnapshot) time.Time {
	due := user.State.Due
	if reset := data.Account.Reset; due.After(reset) {
		unstretched := user.State.Started.Add(time.Duration(float64(user.State.Interval) / data.Account.Ratio))
		due = latest(reset, unstretched)
	}
	return data.Account.Earliest(due)
}

// matches reports whether the query selects an entry.
func (e *entry) matches(q query) bool {
	if q.health != "" && e.health != q.health {
		return false
	}
	return strings.Contains(strings.ToLower(e.User.Name), strings.ToLower(q.search)) ||
		strings.Contains(strconv.FormatInt(e.User.WMID, 10), q.search)
}

func (e *entry) hasValue() bool    { return !e.State.Value.At.IsZero() }
func (e *entry) hasPrevious() bool { return !e.State.Previous.At.IsZero() }
func (e *entry) change() int64     { return e.State.Value.Followers - e.State.Previous.Followers }

// code returns the code of the last request, empty unless it failed.
func (e *entry) code() string {
	if e.health != failing {
		return ""
	}
	return e.State.Last.Code
}

// column is a column of the table.
type column struct {
	name, title string
	class       string // of the heading
	desc        bool   // whether a first click sorts in descending order
	compare     func(a, b *entry) int
	has         func(*entry) bool // whether the cell has content; empty cells are sorted last; nil means always
}

var columns = []column{
	{name: "state", title: "State", compare: func(a, b *entry) int { return a.health.rank() - b.health.rank() }},
	{name: "name", title: "Name", compare: func(a, b *entry) int {
		return strings.Compare(strings.ToLower(a.User.Name), strings.ToLower(b.User.Name))
	}},
	{name: "wmid", title: "WMID", class: "number", compare: func(a, b *entry) int {
		return cmp.Compare(a.User.WMID, b.User.WMID)
	}},
	{name: "followers", title: "Followers", class: "number", desc: true, compare: func(a, b *entry) int {
		return cmp.Compare(a.State.Value.Followers, b.State.Value.Followers)
	}, has: (*entry).hasValue},
	{name: "following", title: "Following", class: "number", desc: true, compare: func(a, b *entry) int {
		return cmp.Compare(a.State.Value.Following, b.State.Value.Following)
	}, has: (*entry).hasValue},
	{name: "change", title: "Change", class: "number", desc: true, compare: func(a, b *entry) int {
		return cmp.Compare(a.change(), b.change())
	}, has: (*entry).hasPrevious},
	{name: "age", title: "Age", desc: true, compare: func(a, b *entry) int {
		return b.State.Value.At.Compare(a.State.Value.At)
	}, has: (*entry).hasValue},
	{name: "next", title: "Next request", compare: func(a, b *entry) int { return a.next.Compare(b.next) }},
	{name: "error", title: "Last error", compare: func(a, b *entry) int {
		return strings.Compare(a.code(), b.code())
	}, has: func(e *entry) bool { return e.code() != "" }},
}

// findColumn returns the column with a name, or nil.
func findColumn(name string) *column {
	for i := range columns {
		if columns[i].name == name {
			return &columns[i]
		}
	}
	return nil
}

// sort sorts entries by a column. Equal ones keep their order.
func (c *column) sort(entries []*entry, desc bool) {
	slices.SortStableFunc(entries, func(a, b *entry) int {
		hasA, hasB := c.has == nil || c.has(a), c.has == nil || c.has(b)
		switch {
		case !hasA && !hasB:
			return 0
		case !hasA:
			return 1
		case !hasB:
			return -1
		case desc:
			return c.compare(b, a)
		default:
			return c.compare(a, b)
		}
	})
}

// row is a user as the table shows it.
type row struct {
	Health    health
	Name      string
	WMID      int64
	Followers string
	Following string
	Change    string
	Period    string // of the change
	Age       relativeTime
	Expired   bool // whether the value is no longer exposed
	Next      relativeTime
	Error     string
	Advice    string
}

func newRow(data Data, e *entry) row {
	value, previous := e.State.Value, e.State.Previous
	r := row{Health: e.health, Name: e.User.Name, WMID: e.User.WMID, Next: newNext(data, e)}
	if e.hasValue() {
		r.Followers, r.Following = formatNumber(value.Followers), formatNumber(value.Following)
		r.Age = newRelativeTime(value.At, formatDuration(data.Now.Sub(value.At)))
		r.Expired = !e.Exposed
	}
	if e.hasPrevious() {
		r.Change = formatChange(e.change())
		r.Period = formatDuration(value.At.Sub(previous.At))
	}
	r.Error, r.Advice = describeError(data, e)
	return r
}

// describeError describes what is wrong with a user, and what to do about it.
func describeError(data Data, e *entry) (description, remedy string) {
	s := e.State
	switch {
	case e.health == failing:
		kind := justoneapi.Explain(s.Last.Code, s.Last.Bilibili)
		description = s.Last.Code + ": " + kind.Meaning
		if s.Last.Detail != "" {
			description += ": " + s.Last.Detail
		}
		return description, data.Advice.For(kind)
	case s.InFlight:
		return "", ""
	case e.health == waiting && !s.Started.IsZero():
		return "The exporter stopped before the response arrived.",
			"No action is needed: it may have been billed, so the next request waits for the interval."
	case e.health == stale && !e.next.After(data.Now):
		return fmt.Sprintf("A request has been due for %s.", formatDuration(data.Now.Sub(e.next))),
			"If this persists although the exporter is scraped, requests do not keep up: " +
				"raise api.max_concurrency or api.max_requests_per_second, or lengthen the intervals."
	}
	return "", ""
}

// newNext returns when the next request starts.
func newNext(data Data, e *entry) relativeTime {
	switch {
	case e.State.InFlight:
		return relativeTime{Text: "in flight"}
	case !e.next.After(data.Now):
		return relativeTime{Text: "next scrape"}
	default:
		return newRelativeTime(e.next, "in "+formatWait(e.next.Sub(data.Now)))
	}
}

// table is the page of users that the query selects.
type table struct {
	Headings []heading
	Rows     []row
	Caption  string
	Pages    []pageLink

	Search, State, Order string // of the query, kept by the search form
	SortOptions          []sortOption
	AllUsers             string // link to all users; empty if all are shown
}

func newTable(data Data, entries []*entry, q query) table {
	matching := slices.DeleteFunc(entries, func(e *entry) bool { return !e.matches(q) })
	if c := findColumn(q.column); c != nil {
		c.sort(matching, q.desc)
	}
	lastPage := max(1, (len(matching)+rowsPerPage-1)/rowsPerPage)
	q.page = min(q.page, lastPage)
	first := (q.page - 1) * rowsPerPage
	shown := matching[first:min(len(matching), first+rowsPerPage)]

	values := q.values()
	t := table{
		Headings: newHeadings(q), Pages: newPageLinks(q, lastPage), Caption: caption(first, len(shown), len(matching)),
		Search: q.search, State: values.Get("state"), Order: values.Get("order"), SortOptions: newSortOptions(q),
	}
	for _, e := range shown {
		t.Rows = append(t.Rows, newRow(data, e))
	}
	if q.search != "" || q.health != "" {
		t.AllUsers = q.link(func(q *query) { q.search, q.health = "", "" })
	}
	return t
}

func caption(first, shown, matching int) string {
	switch {
	case matching == 0:
		return "No user matches"
	case shown == matching:
		return plural(matching, "user")
	default:
		return fmt.Sprintf("Users %s to %s of %s",
			formatNumber(first+1), formatNumber(first+shown), formatNumber(matching))
	}
}

// heading is the heading of a column. Its link sorts by the column.
type heading struct {
	Title, Link string
	Class       string
	Sort        string // ascending or descending; empty if the table is not sorted by the column
}

func newHeadings(q query) []heading {
	var headings []heading
	for _, c := range columns {
		h := heading{Title: c.title, Class: c.class, Link: q.link(func(changed *query) {
			changed.column, changed.desc = c.name, c.desc
			if q.column == c.name {
				changed.desc = !q.desc
			}
		})}
		if q.column == c.name {
			h.Sort = "ascending"
			if q.desc {
				h.Sort = "descending"
			}
		}
		headings = append(headings, h)
	}
	return headings
}

// sortOption is a column to sort by, for screens that are too narrow for headings.
type sortOption struct {
	Value, Title string
	Selected     bool
}

func newSortOptions(q query) []sortOption {
	var options []sortOption
	for _, c := range columns {
		options = append(options, sortOption{c.name, c.title, c.name == q.column})
	}
	return options
}

// pageLink is a link to another page of the table.
type pageLink struct{ Title, Link string }

func newPageLinks(q query, lastPage int) []pageLink {
	var links []pageLink
	add := func(title string, page int) {
		links = append(links, pageLink{title, q.link(func(q *query) { q.page = page })})
	}
	if q.page > 1 {
		add("First", 1)
		add("Previous", q.page-1)
	}
	if q.page < lastPage {
		add("Next", q.page+1)
		add("Last", lastPage)
	}
	return links
}
