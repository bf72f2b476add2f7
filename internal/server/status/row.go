package status

import (
	"maps"
	"slices"
	"strings"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// row is a user as the table shows it.
type row struct {
	Health    health
	Name      string
	Labels    []link // each selects the users that have it
	WMID      int64
	Followers string
	Following string
	Change    string
	Period    string // of the change
	Age       relativeTime
	Expired   bool // whether the value is no longer exposed
	Next      relativeTime
	Code      string // of the last request, if it failed
	Error     string
	Advice    string // empty if it stands above the table
}

func (r renderer) newRow(e *entry, q query) row {
	value, previous := e.State.Value, e.State.Previous
	shown := row{
		Health: e.health, Name: e.User.Name, Labels: newLabelLinks(e, q), WMID: e.User.WMID, Next: r.newNext(e),
	}
	if e.hasValue() {
		shown.Followers, shown.Following = formatNumber(value.Followers), formatNumber(value.Following)
		shown.Age = r.relative(value.At, r.duration(r.Now.Sub(value.At)))
		shown.Expired = !e.Exposed
	}
	if e.hasPrevious() {
		shown.Change = formatChange(e.change())
		shown.Period = r.duration(value.At.Sub(previous.At))
	}
	if e.hasFailed() {
		shown.Code = e.State.Last.Code
	}
	shown.Error, shown.Advice = r.describeError(e)
	return shown
}

// newLabelLinks returns the labels of a user, sorted by name.
func newLabelLinks(e *entry, q query) []link {
	var links []link
	for _, name := range slices.Sorted(maps.Keys(e.User.Labels)) {
		label := name + ":" + e.User.Labels[name]
		links = append(links, link{label, q.link(func(q *query) { q.label = label })})
	}
	return links
}

// describeError describes what is wrong with a user, and what to do about it.
func (r renderer) describeError(e *entry) (description, remedy string) {
	s := e.State
	switch {
	case e.hasFailed():
		kind := justoneapi.Explain(s.Last.Code, s.Last.Bilibili)
		description = r.Text("%s: %s", s.Last.Code, r.Text(kind.Meaning))
		if s.Last.Detail != "" {
			description = r.Text("%s: %s", description, s.Last.Detail)
		}
		return description, r.advise(kind)
	case s.InFlight:
		return "", ""
	case e.health == waiting && !s.Started.IsZero():
		return r.Text("The exporter stopped before the response arrived."),
			r.Text("No action is needed: it may have been billed, so the next request waits for the interval.")
	case e.health == stale && !e.next.After(r.Now):
		return r.Text("A request has been due for %s.", r.duration(r.Now.Sub(e.next))),
			r.Text("If this persists although the exporter is scraped, requests do not keep up: " +
				"raise api.max_concurrency or api.max_requests_per_second, or lengthen the intervals.")
	}
	return "", ""
}

// newNext returns when the next request starts.
func (r renderer) newNext(e *entry) relativeTime {
	switch {
	case e.State.InFlight:
		return relativeTime{Text: r.Text("in flight")}
	case !e.next.After(r.Now):
		return relativeTime{Text: r.Text("next scrape")}
	default:
		return r.relative(e.next, r.in(e.next))
	}
}

// sharedAdvice is the advice that several rows share, which stands once above the table.
type sharedAdvice struct {
	Codes string // of the rows, or their health
	Text  string
}

// shareAdvice removes the advice that several rows share, and returns it in the order of the rows.
func shareAdvice(rows []row) []sharedAdvice {
	about := make(map[string][]string) // codes, by advice; a code for each row
	var texts []string
	for _, r := range rows {
		if r.Advice == "" {
			continue
		}
		if about[r.Advice] == nil {
			texts = append(texts, r.Advice)
		}
		about[r.Advice] = append(about[r.Advice], r.Code)
	}
	var shared []sharedAdvice
	for _, text := range texts {
		if codes := about[text]; len(codes) > 1 {
			slices.Sort(codes)
			shared = append(shared, sharedAdvice{strings.Join(slices.Compact(codes), ", "), text})
		}
	}
	for i, r := range rows {
		if len(about[r.Advice]) > 1 {
			rows[i].Advice = ""
		}
	}
	return shared
}
