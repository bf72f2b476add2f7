package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

// longSilence is how long without a scrape is no longer usual.
const longSilence = 15 * time.Minute

// Verdict answers whether it works, in a sentence.
type Verdict struct {
	Class string // good, partly or bad
	Text  string
}

// problem is something wrong beside single users, and what to do about it.
type problem struct {
	What, Advice string
	Stops        string // in a few words, why no value comes; empty if values come
}

// verdictOf answers by what weighs most.
func verdictOf(data Data, t tally, problems []problem) Verdict {
	class, working := "partly", "Partly working: "
	if t[fresh] == 0 {
		class, working = "bad", "Not working: "
	}
	for _, p := range problems {
		if p.Stops != "" {
			return Verdict{class, working + p.Stops}
		}
	}
	share := func(s state) string {
		return fmt.Sprintf("%s of %s %s", number(int64(t[s])), plural(t.users(), "user"), s)
	}
	switch {
	case data.LastScrape.IsZero():
		return Verdict{"partly", "Waiting for the first scrape"}
	case t[failing] > 0:
		return Verdict{class, working + share(failing)}
	case t[stale] > 0:
		return Verdict{class, working + share(stale)}
	case t[waiting] > 0:
		return Verdict{"partly", "Starting: " + share(waiting)}
	case len(problems) > 0:
		return Verdict{"partly", "Working, but look at this"}
	default:
		return Verdict{"good", "Working"}
	}
}

// muchStretched is the ratio from which on the budget is worth a word.
const muchStretched = 2

// problemsOf returns what is wrong, the worst first.
func problemsOf(data Data) []problem {
	var problems []problem
	add := func(stops, what, advice string) { problems = append(problems, problem{what, advice, stops}) }
	if data.Closing {
		add("the exporter is shutting down", "The exporter is shutting down: no call begins any more.", "Those that run are waited for.")
	}
	a := data.Account
	if a.Pause.Reason != "" {
		kind := justoneapi.ExplainReason(justoneapi.Reason(a.Pause.Reason))
		add("calls are paused", fmt.Sprintf("Calls are paused: %s (%s). %s", kind.Meaning, kind.Code, nextProbe(data)), advice.For(kind))
	}
	switch {
	case a.Limit > 0 && a.Remaining == 0:
		add("today’s budget is used up", "Today’s budget is used up: calls go on "+at(data, a.Reset)+".",
			"Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	case a.Ratio > muchStretched:
		add("", fmt.Sprintf("The budget is small: to make it last, every interval is %.1f times as long as configured.", a.Ratio),
			"Values are as much older. Raise quota.daily_limit if the account allows more, lengthen the intervals, or watch fewer users.")
	}
	if silence := data.Now.Sub(latest(data.LastScrape, data.Started)); silence > max(longSilence, shortestInterval(data)) {
		add("nobody scrapes", fmt.Sprintf("Nobody has scraped for %s.", span(silence)),
			"Nothing is asked without a scrape. Look at Prometheus: Status, Targets.")
	}
	if data.ReloadError != "" {
		add("", "The latest reload failed: "+data.ReloadError, "Mend it and reload; until then the configuration before stays in force.")
	}
	if data.StorageError != "" {
		add("", "The state is not on disk: "+data.StorageError, "Look at the disk: what is not written is forgotten at a restart, which then asks, and pays, again.")
	}
	if data.TokenError != "" {
		add("", "The token cannot be read; the last good one serves: "+data.TokenError, "Bring the file back: a restart would fail without it.")
	}
	return problems
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shortestInterval returns the shortest interval of a user: more often nobody
// has to scrape.
func shortestInterval(data Data) time.Duration {
	if len(data.Users) == 0 {
		return 0
	}
	return slices.MinFunc(data.Users, func(a, b collector.UserSnapshot) int { return cmp.Compare(a.State.Interval, b.State.Interval) }).State.Interval
}

func nextProbe(data Data) string {
	if probe := data.Account.Earliest(data.Now); probe.After(data.Now) {
		return fmt.Sprintf("The next scrape %s probes whether they can go on.", strings.Replace(at(data, probe), "at", "after", 1))
	}
	return "The next scrape probes whether they can go on."
}

// at says when something will be, by the clock of the quota day.
func at(data Data, t time.Time) string {
	return fmt.Sprintf("at %s in %s, in %s", t.In(data.Zone).Format("15:04"), data.Zone, wait(t.Sub(data.Now)))
}

// budget is the use of the quota day.
type budget struct {
	Limited     bool
	Used, Limit int
	Text, Reset string
}

func budgetOf(data Data) budget {
	a := data.Account
	b := budget{Limited: a.Limit > 0, Used: min(a.Used, a.Limit), Limit: a.Limit, Reset: "A new day begins " + at(data, a.Reset) + "."}
	if !b.Limited {
		b.Text = plural(a.Used, "request") + " today; no daily limit is configured"
		return b
	}
	b.Text = fmt.Sprintf("%s of %s requests used, %s left", number(int64(a.Used)), number(int64(a.Limit)), number(int64(a.Remaining)))
	if a.Remaining > 0 && a.Ratio >= 1.01 {
		b.Reset += fmt.Sprintf(" To last until then, every interval is stretched by %.2f.", a.Ratio)
	}
	return b
}

// scrapedOf says when the latest scrape was.
func scrapedOf(data Data) string {
	if data.LastScrape.IsZero() {
		return fmt.Sprintf("No scrape since the start, %s ago.", span(data.Now.Sub(data.Started)))
	}
	return fmt.Sprintf("Last scrape %s ago; started %s ago.", span(data.Now.Sub(data.LastScrape)), span(data.Now.Sub(data.Started)))
}
