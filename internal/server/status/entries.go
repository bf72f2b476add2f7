package status

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
)

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
	if name, value, _ := strings.Cut(q.label, ":"); q.label != "" && !e.hasLabel(name, value) {
		return false
	}
	search := strings.ToLower(q.search)
	return strings.Contains(strings.ToLower(e.User.Name), search) ||
		strings.Contains(strconv.FormatInt(e.User.WMID, 10), q.search) || e.matchesLabel(search)
}

func (e *entry) hasLabel(name, value string) bool {
	got, ok := e.User.Labels[name]
	return ok && got == value
}

// matchesLabel reports whether a label, written name:value, contains a text in lower case.
func (e *entry) matchesLabel(text string) bool {
	for name, value := range e.User.Labels {
		if strings.Contains(strings.ToLower(name+":"+value), text) {
			return true
		}
	}
	return false
}

func (e *entry) hasValue() bool    { return !e.State.Value.At.IsZero() }
func (e *entry) hasPrevious() bool { return !e.State.Previous.At.IsZero() }
func (e *entry) change() int64     { return e.State.Value.Followers - e.State.Previous.Followers }
func (e *entry) hasFailed() bool   { return e.health == failing || e.health == unavailable }
