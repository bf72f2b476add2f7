package status

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxSearch is the maximum length of a search text, in bytes. The rest is ignored.
const maxSearch = 200

// query is the query of the page.
type query struct {
	search string
	health health // empty for all users
	column string // to sort by; empty for the worst health first
	desc   bool   // whether to sort in descending order
	page   int    // at least 1
}

// parseQuery parses a query and ignores invalid parts.
func parseQuery(values url.Values) query {
	q := query{page: 1, search: strings.ToValidUTF8(strings.TrimSpace(values.Get("q")), "�")}
	if len(q.search) > maxSearch {
		q.search = strings.ToValidUTF8(q.search[:maxSearch], "")
	}
	if h := health(values.Get("state")); slices.Contains(healthValues, h) {
		q.health = h
	}
	if c := findColumn(values.Get("sort")); c != nil {
		q.column = c.name
		q.desc = values.Get("order") == "desc"
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		q.page = n
	}
	return q
}

// link returns the link for a changed query, to the first page unless the change sets another.
func (q query) link(change func(*query)) string {
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
	set("state", string(q.health))
	set("sort", q.column)
	if q.desc {
		set("order", "desc")
	}
	if q.page > 1 {
		set("page", strconv.Itoa(q.page))
	}
	return values
}
