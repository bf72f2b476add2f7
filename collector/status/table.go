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

// perPage is how many users a page shows.
const perPage = 100

// row is a user as the table shows it.
type row struct {
	State     state
	Meaning   string
	Name      string
	WMID      int64
	Followers string
	Following string
	Change    string
	Since     string // what the change is measured from
	Age       moment
	Dropped   bool // whether the value is too old to be exposed
	Next      moment
	Error     string
	Advice    string

	value, former time.Time
	next          time.Time
	followers     int64
	following     int64
	change        int64
	code          string
}

// rowsOf returns a row for each user, the worst first, and else in the order of
// the configuration.
func rowsOf(data Data) []row {
	rows := make([]row, 0, len(data.Users))
	for _, user := range data.Users {
		rows = append(rows, rowOf(data, user))
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.State.rank() - b.State.rank() })
	return rows
}

func rowOf(data Data, user collector.UserState) row {
	s := user.State
	r := row{
		State: stateOf(user, data.Now), Name: user.User.Name, WMID: s.WMID,
		value: s.Value.At, former: s.Former.At, next: nextCall(data, user),
	}
	r.Meaning = meanings[r.State]
	r.Next = nextOf(data, r.next)
	if !s.Value.At.IsZero() {
		r.followers, r.following = s.Value.Followers, s.Value.Following
		r.Followers, r.Following = number(r.followers), number(r.following)
		r.Age = momentOf(s.Value.At, span(data.Now.Sub(s.Value.At)))
		r.Dropped = !user.Shown
	}
	if !s.Former.At.IsZero() {
		r.change = s.Value.Followers - s.Former.Followers
		r.Change = signed(r.change)
		r.Since = fmt.Sprintf("in the %s before the value", span(s.Value.At.Sub(s.Former.At)))
	}
	if r.State == failing {
		kind := justoneapi.Explain(s.Last.Code)
		r.code, r.Advice = s.Last.Code, kind.Advice
		r.Error = s.Last.Code + ": " + kind.Meaning
		if s.Last.Detail != "" {
			r.Error += ": " + s.Last.Detail
		}
	}
	return r
}

// nextCall returns when the next call for a user may begin, as far as is known
// now: not in a pause, nor when the day has no calls left.
func nextCall(data Data, user collector.UserState) time.Time {
	next := user.State.Due
	if resume := data.Account.Pause.Resume; data.Account.Pause.Reason != "" && resume.After(next) {
		next = resume
	}
	if data.Account.Limit > 0 && data.Account.Remaining == 0 && data.Account.Reset.After(next) {
		next = data.Account.Reset
	}
	return next
}

func nextOf(data Data, next time.Time) moment {
	if !next.After(data.Now) {
		return momentOf(next, "now")
	}
	return momentOf(next, "in "+wait(next.Sub(data.Now)))
}

// column is a column that the table can be sorted by.
type column struct {
	name, title string
	class       string // of the heading
	down        bool   // sorted downwards first
	compare     func(a, b *row) int
	missing     func(r *row) bool // whether the row has nothing there; such rows come last
}

func never(*row) bool { return false }

var columns = []column{
	{"state", "State", "", false, func(a, b *row) int { return a.State.rank() - b.State.rank() }, never},
	{"name", "Name", "", false, func(a, b *row) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) }, never},
	{"wmid", "WMID", "number", false, func(a, b *row) int { return cmp.Compare(a.WMID, b.WMID) }, never},
	{"followers", "Followers", "number", true, func(a, b *row) int { return cmp.Compare(a.followers, b.followers) }, (*row).noValue},
	{"following", "Following", "number", true, func(a, b *row) int { return cmp.Compare(a.following, b.following) }, (*row).noValue},
	{"change", "Change", "number", true, func(a, b *row) int { return cmp.Compare(a.change, b.change) }, func(r *row) bool { return r.former.IsZero() }},
	{"age", "Age", "", true, func(a, b *row) int { return b.value.Compare(a.value) }, (*row).noValue},
	{"next", "Next call", "", false, func(a, b *row) int { return a.next.Compare(b.next) }, never},
	{"error", "Last error", "", false, func(a, b *row) int { return strings.Compare(a.code, b.code) }, func(r *row) bool { return r.code == "" }},
}

func (r *row) noValue() bool { return r.value.IsZero() }

// columnNamed returns a column, nil if there is none of that name.
func columnNamed(name string) *column {
	for i := range columns {
		if columns[i].name == name {
			return &columns[i]
		}
	}
	return nil
}

// sort orders rows by a column; rows that are alike there keep their order.
func (c *column) sort(rows []row, down bool) {
	slices.SortStableFunc(rows, func(a, b row) int {
		switch aMissing, bMissing := c.missing(&a), c.missing(&b); {
		case aMissing && bMissing:
			return 0
		case aMissing:
			return 1
		case bMissing:
			return -1
		case down:
			return c.compare(&b, &a)
		default:
			return c.compare(&a, &b)
		}
	})
}

// matches reports whether a row is one of those that are asked for.
func (r *row) matches(q query) bool {
	if q.state != "" && r.State != q.state {
		return false
	}
	return strings.Contains(strings.ToLower(r.Name), strings.ToLower(q.search)) || strings.Contains(strconv.FormatInt(r.WMID, 10), q.search)
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

	Search, State, Sort, Order string // to be kept by the search
	All                        string // link to all users, empty if they are shown
}

func tableOf(rows []row, wanted query) table {
	matching := slices.DeleteFunc(rows, func(r row) bool { return !r.matches(wanted) })
	if c := columnNamed(wanted.column); c != nil {
		c.sort(matching, wanted.down)
	}
	last := max(1, (len(matching)+perPage-1)/perPage)
	wanted.page = min(wanted.page, last)
	from := (wanted.page - 1) * perPage
	shown := matching[from:min(len(matching), from+perPage)]

	kept := wanted.values()
	t := table{
		Headings: headingsOf(wanted), Rows: shown, Pages: pagesOf(wanted, last), Caption: captionOf(from, len(shown), len(matching)),
		Search: wanted.search, State: kept.Get("state"), Sort: kept.Get("sort"), Order: kept.Get("order"),
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
