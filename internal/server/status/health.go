package status

import (
	"slices"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// state is a user's health.
type state string

// The states, the worst first.
const (
	failing state = "failing"
	stale   state = "stale"
	waiting state = "waiting"
	fresh   state = "fresh"
)

var states = []state{failing, stale, waiting, fresh}

var meanings = map[state]string{
	failing: "the last request failed",
	stale:   "an update is overdue",
	waiting: "no request has completed yet",
	fresh:   "updated within the expected interval",
}

// Meaning explains the state in a few words.
func (s state) Meaning() string { return meanings[s] }

// rank returns the position of the state in [states].
func (s state) rank() int { return slices.Index(states, s) }

// allowedDelay is how long after its interval a value may be updated: scrapes are some time apart, and requests are
// queued.
const allowedDelay = 5 * time.Minute

// userState returns the state of a user. A value is stale long before it expires and is no longer exposed.
func userState(user collector.UserSnapshot, now time.Time) state {
	s := user.State
	switch {
	case !s.Completed:
		return waiting
	case s.Last.Verdict != quota.VerdictSuccess:
		return failing
	case !user.Exposed || now.Sub(s.Value.At) > s.Interval+max(s.Interval, allowedDelay):
		return stale
	default:
		return fresh
	}
}

// stateCounts is the number of users in each state.
type stateCounts map[state]int

func countStates(entries []*entry) stateCounts {
	counts := make(stateCounts)
	for _, e := range entries {
		counts[e.state]++
	}
	return counts
}

// stateLink is a state with the number of its users, and a link that selects them.
type stateLink struct {
	State    state
	Users    string
	Link     string
	Selected bool
}

func newStateLinks(counts stateCounts, q query) []stateLink {
	var links []stateLink
	for _, s := range []state{fresh, stale, failing, waiting} {
		if counts[s] == 0 && s == waiting {
			continue
		}
		l := stateLink{State: s, Users: formatNumber(counts[s]), Selected: q.state == s}
		l.Link = q.link(func(q *query) {
			q.state = s
			if l.Selected {
				q.state = ""
			}
		})
		links = append(links, l)
	}
	return links
}
