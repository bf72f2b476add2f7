package status

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"
)

// maxText is the maximum length of a text in the query, in bytes. The rest is ignored.
const maxText = 200

// query is the query of the page.
type query struct {
	search   string
	label    string // as name:value; empty for all users
	health   health // empty for all users
	column   string // to sort by; empty for the worst health first
	desc     bool   // whether to sort in descending order
	page     int    // at least 1
	still    bool   // whether the page is not refreshed
	language *locale.Language
}

// parseQuery parses a query and ignores invalid parts.
func parseQuery(values url.Values) query {
	q := query{
		page: 1, search: shorten(values.Get("q")), label: shorten(values.Get("label")),
		still: values.Get("refresh") == "off", language: locale.Find(values.Get("lang")),
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

// shorten returns a text as valid UTF-8 of at most maxText bytes, without space around it.
func shorten(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "�")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

// link returns the link for a changed query, to the first page unless the change sets another.
func (q query) link(change func(*query)) string {
	q.page = 1
	return q.stay(change)
}

// stay returns the link for a changed query, to the same page.
func (q query) stay(change func(*query)) string {
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
	set("label", q.label)
	set("state", string(q.health))
	set("sort", q.column)
	if q.desc {
		set("order", "desc")
	}
	if q.page > 1 {
		set("page", strconv.Itoa(q.page))
	}
	if q.still {
		set("refresh", "off")
	}
	if q.language != nil {
		set("lang", q.language.Code)
	}
	return values
}

// field is a hidden field of the search form.
type field struct{ Name, Value string }

// hidden returns the parts of the query that the search form does not show, but keeps.
func (q query) hidden() []field {
	var fields []field
	values := q.values()
	for _, name := range []string{"state", "label", "order", "refresh", "lang"} {
		if value := values.Get(name); value != "" {
			fields = append(fields, field{name, value})
		}
	}
	return fields
}
