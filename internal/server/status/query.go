package status

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxSearch is how many bytes of a text to search for are heeded.
const maxSearch = 200

// query is what the page is asked for; the zero value is all users.
type query struct {
	search string
	state  state
	column string // to sort by, empty for the worst first
	down   bool   // descending
	page   int    // from 1
}

// parseQuery reads a query, and leaves out what it does not understand.
func parseQuery(values url.Values) query {
	q := query{page: 1, search: strings.ToValidUTF8(strings.TrimSpace(values.Get("q")), "�")}
	if len(q.search) > maxSearch {
		q.search = strings.ToValidUTF8(q.search[:maxSearch], "")
	}
	if s := state(values.Get("state")); slices.Contains(states, s) {
		q.state = s
	}
	if c := columnNamed(values.Get("sort")); c != nil {
		q.column = c.name
		q.down = values.Get("order") == "desc"
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		q.page = n
	}
	return q
}

// with returns the link for a changed query, which begins at the first page
// unless the change says otherwise.
func (q query) with(change func(*query)) string {
	q.page = 1
	change(&q)
	return "?" + q.values().Encode()
}

func (q query) values() url.Values {
	values := make(url.Values)
	set := func(key, value string) {
		if value != "" {
			values.Set(key, value)
		}
	}
	set("q", q.search)
	set("state", string(q.state))
	set("sort", q.column)
	if q.down {
		set("order", "desc")
	}
	if q.page > 1 {
		set("page", strconv.Itoa(q.page))
	}
	return values
}
