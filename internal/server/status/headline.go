package status

import (
	"maps"
	"slices"
	"time"
)

// headline says in a sentence whether the exporter works and, if not, why and since when.
type headline struct {
	Class string // good, partly or bad
	Text  string
}

// newHeadline returns the headline for the most serious problem. Users that are unavailable concern nobody else, so
// the exporter works if all others are up to date.
func (r renderer) newHeadline(problems []problem) headline {
	for _, p := range problems {
		if p.Headline != "" {
			return r.broken(p.Headline)
		}
	}
	switch {
	case r.LastScrape.IsZero():
		return headline{"partly", r.Text("Waiting for the first scrape")}
	case r.counts[failing] > 0:
		return r.broken(r.describeFailures())
	case r.counts[stale] > 0:
		return r.broken(r.since(r.share("%s of %s stale", stale), r.staleSince()))
	case r.counts[waiting] > 0:
		return headline{"partly", r.Text("Starting: %s", r.share("%s of %s waiting", waiting))}
	case r.counts[unavailable] > 0 && r.counts[fresh] == 0:
		return r.broken(r.since(r.share("%s of %s unavailable", unavailable), r.failingSince(unavailable)))
	case len(problems) > 0:
		return headline{"partly", r.Text("Working, with warnings")}
	case r.Replica != nil && !r.Replica.Active:
		return headline{"good", r.Text("Working, on standby")}
	case r.counts[unavailable] > 0:
		return headline{"good", r.Text("Working, %s", r.share("%s of %s unavailable", unavailable))}
	default:
		return headline{"good", r.Text("Working")}
	}
}

// share formats the number of users with a health.
func (r renderer) share(text string, h health) string {
	return r.Text(text, formatNumber(r.counts[h]), r.users(len(r.Users)))
}

// broken returns the headline for a cause.
func (r renderer) broken(cause string) headline {
	if r.counts[fresh] > 0 {
		return headline{"partly", r.Text("Partly working: %s", cause)}
	}
	return headline{"bad", r.Text("Not working: %s", cause)}
}

// since adds the time since when something is the case, unless it is not known.
func (r renderer) since(text string, t time.Time) string {
	if t.IsZero() {
		return text
	}
	return r.Text("%s since %s", text, r.clock(t))
}

// describeFailures describes the users that are failing, with the most frequent code.
func (r renderer) describeFailures() string {
	code, only := r.failingCode()
	text := "%s of %s failing with %s"
	if !only {
		text = "%s of %s failing, mostly with %s"
	}
	return r.since(r.Text(text, formatNumber(r.counts[failing]), r.users(len(r.Users)), code), r.failingSince(failing))
}

// describeOutage describes an outage: the users without a new value, and the most frequent code.
func (r renderer) describeOutage() string {
	code, _ := r.failingCode()
	if code == "" {
		return r.since(r.Text("the upstream is failing"), r.Account.Pause.Since)
	}
	description := r.Text("%s of %s without a new value, requests failing with %s",
		formatNumber(r.counts[failing]+r.counts[stale]), r.users(len(r.Users)), code)
	return r.since(description, r.Account.Pause.Since)
}

// failingCode returns the most frequent code of the users that are failing, and whether it is the only one.
func (r renderer) failingCode() (code string, only bool) {
	counts := make(map[string]int)
	for _, e := range r.entries {
		if e.health == failing {
			counts[e.State.Last.Code]++
		}
	}
	for _, each := range slices.Sorted(maps.Keys(counts)) {
		if code == "" || counts[each] > counts[code] {
			code = each
		}
	}
	return code, len(counts) == 1
}

// staleSince returns when the first of the stale users became stale; zero if that is not known.
func (r renderer) staleSince() time.Time {
	var first time.Time
	for _, e := range r.entries {
		at := staleAt(e.State)
		if e.health == stale && at.Before(r.Now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// failingSince returns when the failures of the users with a health started: the first failure after the last value
// that one of them got. So a user that has failed for days does not make an outage older.
func (r renderer) failingSince(h health) time.Time {
	var lastValue, first time.Time
	for _, e := range r.entries {
		if e.health == h {
			lastValue = latest(lastValue, e.State.Value.At)
		}
	}
	for _, e := range r.entries {
		since := e.State.FailingSince
		if e.health != h || since.IsZero() || since.Before(lastValue) {
			continue
		}
		if first.IsZero() || since.Before(first) {
			first = since
		}
	}
	return first
}
