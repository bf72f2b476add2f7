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
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

// perPage is how many users a page shows.
const perPage = 100

// entry is a user of whom the table can show a row.
type entry struct {
	collector.UserSnapshot
	state state
	next  time.Time // when the next call may begin
}

// entriesOf returns an entry for each user, the worst first, and else in the
// order of the configuration.
func entriesOf(data Data) []*entry {
	entries := make([]*entry, 0, len(data.Users))
	for _, user := range data.Users {
		entries = append(entries, &entry{user, stateOf(user, data.Now), nextCall(data, user)})
	}
	slices.SortStableFunc(entries, func(a, b *entry) int { return a.state.rank() - b.state.rank() })
	return entries
}

// nextCall returns when the next call for a user may begin, as far as is known
// now: when a new quota day begins, no interval is stretched as today.
func nextCall(data Data, user collector.UserSnapshot) time.Time {
	due := user.State.Due
	if reset := data.Account.Reset; due.After(reset) {
		unstretched := user.State.Started.Add(time.Duration(float64(user.State.Interval) / data.Account.Ratio))
		due = latest(reset, unstretched)
	}
	return data.Account.Earliest(due)
}

// matches reports whether an entry is one of those that are asked for.
func (e *entry) matches(q query) bool {
	if q.state != "" && e.state != q.state {
		return false
	}
	return strings.Contains(strings.ToLower(e.User.Name), strings.ToLower(q.search)) ||
		strings.Contains(strconv.FormatInt(e.User.WMID, 10), q.search)
}

func (e *entry) change() int64 { return e.State.Value.Followers - e.State.Previous.Followers }

// code returns the code of the latest call, empty if that did not fail.
func (e *entry) code() string {
	if e.state != failing {
		return ""
	}
	return e.State.Last.Code
}

// column is a column that the table can be sorted by.
type column struct {
	name, title string
	class       string // of the heading
	down        bool   // sorted downwards first
	compare     func(a, b *entry) int
	missing     func(e *entry) bool // whether there is nothing to show; such rows come last
}

var columns = []column{
	{"state", "State", "", false, func(a, b *entry) int { return a.state.rank() - b.state.rank() }, never},
	{"name", "Name", "", false, func(a, b *entry) int {
		return strings.Compare(strings.ToLower(a.User.Name), strings.ToLower(b.User.Name))
	}, never},
	{"wmid", "WMID", "number", false, func(a, b *entry) int { return cmp.Compare(a.User.WMID, b.User.WMID) }, never},
	{"followers", "Followers", "number", true, func(a, b *entry) int {
		return cmp.Compare(a.State.Value.Followers, b.State.Value.Followers)
	}, withoutValue},
	{"following", "Following", "number", true, func(a, b *entry) int {
		return cmp.Compare(a.State.Value.Following, b.State.Value.Following)
	}, withoutValue},
	{"change", "Change", "number", true, func(a, b *entry) int { return cmp.Compare(a.change(), b.change()) }, withoutFormer},
	{"age", "Age", "", true, func(a, b *entry) int { return b.State.Value.At.Compare(a.State.Value.At) }, withoutValue},
	{"next", "Next call", "", false, func(a, b *entry) int { return a.next.Compare(b.next) }, never},
	{"error", "Last error", "", false, func(a, b *entry) int { return strings.Compare(a.code(), b.code()) }, withoutCode},
}

func never(*entry) bool           { return false }
func withoutValue(e *entry) bool  { return e.State.Value.At.IsZero() }
func withoutFormer(e *entry) bool { return e.State.Previous.At.IsZero() }
func withoutCode(e *entry) bool   { return e.code() == "" }

// columnNamed returns a column, nil if there is none of that name.
func columnNamed(name string) *column {
	for i := range columns {
		if columns[i].name == name {
			return &columns[i]
		}
	}
	return nil
}

// sort orders entries by a column; those that are alike there keep their order.
func (c *column) sort(entries []*entry, down bool) {
	slices.SortStableFunc(entries, func(a, b *entry) int {
		switch aMissing, bMissing := c.missing(a), c.missing(b); {
		case aMissing && bMissing:
			return 0
		case aMissing:
			return 1
		case bMissing:
			return -1
		case down:
			return c.compare(b, a)
		default:
			return c.compare(a, b)
		}
	})
}

// row is a user as the table shows it.
type row struct {
	State     state
	Meaning   string
	Name      string
	WMID      int64
	Followers string
	Following string
	Change    string
	Since     string // over what time
	Age       moment
	Dropped   bool // whether the value is too old to be exposed
	Next      moment
	Error     string
	Advice    string
}

func rowOf(data Data, e *entry) row {
	value, former := e.State.Value, e.State.Previous
	r := row{State: e.state, Meaning: meanings[e.state], Name: e.User.Name, WMID: e.User.WMID, Next: nextOf(data, e)}
	if !withoutValue(e) {
		r.Followers, r.Following = number(value.Followers), number(value.Following)
		r.Age = momentOf(value.At, span(data.Now.Sub(value.At)))
		r.Dropped = !e.Exposed
	}
	if !withoutFormer(e) {
		r.Change = signed(e.change())
		r.Since = span(value.At.Sub(former.At))
	}
	r.Error, r.Advice = troubleOf(data, e)
	return r
}

// troubleOf says what is wrong with a user, and what to do about it.
func troubleOf(data Data, e *entry) (trouble, remedy string) {
	s := e.State
	switch {
	case e.state == failing:
		kind := justoneapi.Explain(s.Last.Code, s.Last.Bilibili)
		trouble = s.Last.Code + ": " + kind.Meaning
		if s.Last.Detail != "" {
			trouble += ": " + s.Last.Detail
		}
		return trouble, advice.For(kind)
	case s.InFlight:
		return "", ""
	case e.state == waiting && !s.Started.IsZero():
		return "The answer was lost: the process ended before it came.", "Nothing to do: it may have been billed, so the user waits for the interval."
	case e.state == stale && !e.next.After(data.Now):
		return fmt.Sprintf("A call is due since %s.", span(data.Now.Sub(e.next))),
			"If scrapes come and this stays, calls do not keep up: raise api.max_concurrency or api.max_requests_per_second, or the intervals."
	}
	return "", ""
}

// nextOf says when the next call comes.
func nextOf(data Data, e *entry) moment {
	switch {
	case e.State.InFlight:
		return moment{Text: "being asked"}
	case !e.next.After(data.Now):
		return moment{Text: "next scrape"}
	default:
		return momentOf(e.next, "in "+wait(e.next.Sub(data.Now)))
	}
}

// heading is the head of a column.
type heading struct {
	Title, Link string
	Class       string // as of the cells below
	Sort        string // ascending or descending, empty if the table is not sorted by it
}

// link is a link to another page of the table.
type link struct{ Text, Link string }

// table is the part of the users that is shown.
type table struct {
	Headings []heading
	Rows     []row
	Caption  string
	Pages    []link

	Search, State, Order string // to be kept by the search
	Orders               []order
	All                  string // link to all users, empty if they are shown
}

func tableOf(data Data, entries []*entry, wanted query) table {
	matching := slices.DeleteFunc(entries, func(e *entry) bool { return !e.matches(wanted) })
	if c := columnNamed(wanted.column); c != nil {
		c.sort(matching, wanted.down)
	}
	last := max(1, (len(matching)+perPage-1)/perPage)
	wanted.page = min(wanted.page, last)
	from := (wanted.page - 1) * perPage
	shown := matching[from:min(len(matching), from+perPage)]

	kept := wanted.values()
	t := table{
		Headings: headingsOf(wanted), Pages: pagesOf(wanted, last), Caption: captionOf(from, len(shown), len(matching)),
		Search: wanted.search, State: kept.Get("state"), Order: kept.Get("order"), Orders: ordersOf(wanted),
	}
	for _, e := range shown {
		t.Rows = append(t.Rows, rowOf(data, e))
	}
	if wanted.search != "" || wanted.state != "" {
		t.All = wanted.with(func(q *query) { q.search, q.state = "", "" })
	}
	return t
}

func captionOf(from, shown, all int) string {
	switch {
	case all == 0:
		return "No user matches"
	case shown == all:
		return plural(all, "user")
	default:
		return fmt.Sprintf("Users %s to %s of %s", number(int64(from+1)), number(int64(from+shown)), number(int64(all)))
	}
}

func headingsOf(wanted query) []heading {
	var headings []heading
	for _, c := range columns {
		h := heading{Title: c.title, Class: c.class, Link: wanted.with(func(q *query) {
			q.down = c.down
			if q.column == c.name {
				q.down = !wanted.down
			}
			q.column = c.name
		})}
		if wanted.column == c.name {
			h.Sort = "ascending"
			if wanted.down {
				h.Sort = "descending"
			}
		}
		headings = append(headings, h)
	}
	return headings
}

// order is a column to sort by, for screens without room for headings.
type order struct {
	Value, Text string
	Chosen      bool
}

func ordersOf(wanted query) []order {
	var orders []order
	for _, c := range columns {
		orders = append(orders, order{c.name, c.title, c.name == wanted.column})
	}
	return orders
}

func pagesOf(wanted query, last int) []link {
	var links []link
	add := func(text string, page int) {
		links = append(links, link{text, wanted.with(func(q *query) { q.page = page })})
	}
	if wanted.page > 1 {
		add("First", 1)
		add("Previous", wanted.page-1)
	}
	if wanted.page < last {
		add("Next", wanted.page+1)
		add("Last", last)
	}
	return links
}
