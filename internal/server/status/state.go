package status

import (
	"slices"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// state says in a word how a user fares.
type state string

// The states, the worst first.
const (
	failing state = "failing" // the latest call failed
	stale   state = "stale"   // the value is older than it should be
	waiting state = "waiting" // no call has ended yet
	fresh   state = "fresh"   // all is well
)

var states = []state{failing, stale, waiting, fresh}

// meanings explain the states.
var meanings = map[state]string{
	failing: "the latest call failed",
	stale:   "a new value is overdue",
	waiting: "no call has ended yet",
	fresh:   "the value is as young as it should be",
}

// rank returns the place of a state among all.
func (s state) rank() int { return slices.Index(states, s) }

// lateness is how long after its interval a value may come: scrapes are a
// while apart, and calls have to wait for their turn.
const lateness = 5 * time.Minute

// stateOf returns how a user fares. A value is stale long before it is too old
// to be exposed.
func stateOf(user collector.UserSnapshot, now time.Time) state {
	s := user.State
	switch {
	case !s.Completed:
		return waiting
	case s.Last.Verdict != quota.VerdictSuccess:
		return failing
	case !user.Exposed || now.Sub(s.Value.At) > s.Interval+max(s.Interval, lateness):
		return stale
	default:
		return fresh
	}
}

// tally is how many users are in a state.
type tally map[state]int

func tallyOf(entries []*entry) tally {
	t := make(tally)
	for _, e := range entries {
		t[e.state]++
	}
	return t
}

func (t tally) users() int {
	var users int
	for _, n := range t {
		users += n
	}
	return users
}

// count is a state, how many users are in it, and a link to them.
type count struct {
	State         state
	Users         string
	Meaning, Link string
	Chosen        bool // whether the page shows them alone
}

func countsOf(t tally, wanted query) []count {
	var counts []count
	for _, s := range []state{fresh, stale, failing, waiting} {
		if t[s] == 0 && s == waiting {
			continue
		}
		c := count{State: s, Users: number(int64(t[s])), Meaning: meanings[s], Chosen: wanted.state == s}
		c.Link = wanted.with(func(q *query) {
			q.state = s
			if c.Chosen {
				q.state = ""
			}
		})
		counts = append(counts, c)
	}
	return counts
}
