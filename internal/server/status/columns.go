package status

import (
	"cmp"
	"slices"
	"strings"
)

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
		return strings.Compare(a.State.Last.Code, b.State.Last.Code)
	}, has: (*entry).hasFailed},
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
