package status

import (
	"slices"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// health says whether a user's value is up to date and, if not, why. The page calls it the state.
type health string

// The values of health, the worst first.
const (
	failing     health = "failing"
	stale       health = "stale"
	unavailable health = "unavailable"
	waiting     health = "waiting"
	fresh       health = "fresh"
)

var healthValues = []health{failing, stale, unavailable, waiting, fresh}

var meanings = map[health]string{
	failing:     "the last request failed",
	stale:       "an update is overdue",
	unavailable: "the API has no value for this user",
	waiting:     "no request has completed yet",
	fresh:       "updated within the expected interval",
}

// Name returns the name of the health.
func (h health) Name() string { return string(h) }

// Meaning explains the health in a few words.
func (h health) Meaning() string { return meanings[h] }

// rank returns the position in [healthValues].
func (h health) rank() int { return slices.Index(healthValues, h) }

// allowedDelay is how long after its interval a value may be updated, because scrapes are some time apart and requests
// are queued.
const allowedDelay = 5 * time.Minute

// newHealth returns the health of a user. A value is stale long before it expires and is no longer exposed.
func newHealth(user collector.UserSnapshot, now time.Time) health {
	s := user.State
	switch {
	case !s.Completed:
		return waiting
	case s.Last.Verdict == quota.VerdictBackOff:
		return unavailable
	case s.Last.Verdict != quota.VerdictSuccess:
		return failing
	case !user.Exposed || now.After(staleAt(s)):
		return stale
	default:
		return fresh
	}
}

// staleAt returns when the value of a user becomes stale.
func staleAt(s quota.UserState) time.Time {
	return s.Value.At.Add(s.Interval + max(s.Interval, allowedDelay))
}

// healthCounts is the number of users by health.
type healthCounts map[health]int

func countHealth(entries []*entry) healthCounts {
	counts := make(healthCounts)
	for _, e := range entries {
		counts[e.health]++
	}
	return counts
}

// healthLink is the number of users with a health, and a link that selects them.
type healthLink struct {
	Health   health
	Users    string
	Link     string
	Selected bool
	None     bool // whether there are no such users
}

func newHealthLinks(counts healthCounts, q query) []healthLink {
	var links []healthLink
	for _, h := range []health{fresh, stale, failing, unavailable, waiting} {
		if counts[h] == 0 && h == waiting {
			continue
		}
		l := healthLink{Health: h, Users: formatNumber(counts[h]), Selected: q.health == h, None: counts[h] == 0}
		l.Link = q.link(func(q *query) {
			q.health = h
			if l.Selected {
				q.health = ""
			}
		})
		links = append(links, l)
	}
	return links
}
