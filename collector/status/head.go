package status

import (
	"fmt"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
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
	users := t.users()
	for _, p := range problems {
		if p.Stops != "" {
			return Verdict{"bad", "Not working: " + p.Stops}
		}
	}
	share := func(s state) string {
		return fmt.Sprintf("%s of %s", number(int64(t[s])), plural(users, "user"))
	}
	switch {
	case t[failing] == users:
		return Verdict{"bad", "Not working: every user is failing"}
	case t[failing] > 0:
		return Verdict{"partly", "Partly working: " + share(failing) + " failing"}
	case t[stale] > 0:
		return Verdict{"partly", "Partly working: " + share(stale) + " stale"}
	case data.LastScrape.IsZero():
		return Verdict{"partly", "Waiting for the first scrape"}
	case t[waiting] > 0:
		return Verdict{"partly", "Starting: " + share(waiting) + " not asked about yet"}
	case len(problems) > 0:
		return Verdict{"partly", "Working, but look at this"}
	default:
		return Verdict{"good", "Working"}
	}
}

// problemsOf returns what is wrong, the worst first.
func problemsOf(data Data) []problem {
	var problems []problem
	add := func(stops, what, advice string) { problems = append(problems, problem{what, advice, stops}) }
	if pause := data.Account.Pause; pause.Reason != "" {
		kind := justoneapi.ExplainReason(justoneapi.Reason(pause.Reason))
		add("calls are paused", fmt.Sprintf("Calls are paused: %s (%s). %s", kind.Meaning, kind.Code, nextProbe(data)), kind.Advice)
	}
	if data.Account.Limit > 0 && data.Account.Remaining == 0 {
		add("today’s budget is used up", "Today’s budget is used up: calls go on "+resetOf(data)+".",
			"Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	}
	if silence := data.Now.Sub(latest(data.LastScrape, data.Started)); silence > longSilence {
		add("nobody scrapes", fmt.Sprintf("Nobody has scraped for %s.", span(silence)),
			"Nothing is asked without a scrape. Look at Prometheus: Status, Targets.")
	}
	if data.ReloadError != "" {
		add("", "The latest reload failed: "+data.ReloadError, "Mend it and reload; until then the configuration before stays in force.")
	}
	if data.StorageError != "" {
		add("", "The state is not on disk: "+data.StorageError, "Look at the disk: what is not written is forgotten at a restart, which then asks, and pays, again.")
	}
	return problems
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func nextProbe(data Data) string {
	if pause := data.Account.Pause.Resume.Sub(data.Now); pause > 0 {
		return fmt.Sprintf("The next scrape after %s UTC, in %s, probes whether they can go on.", data.Account.Pause.Resume.UTC().Format("15:04:05"), wait(pause))
	}
	return "The next scrape probes whether they can go on."
}

// budget is the use of the quota day.
type budget struct {
	Limited     bool
	Used, Limit int
	Text, Reset string
	Stretch     string // empty without one
}

func budgetOf(data Data) budget {
	a := data.Account
	b := budget{Limited: a.Limit > 0, Used: min(a.Used, a.Limit), Limit: a.Limit, Reset: sentence("a new day begins " + resetOf(data))}
	if !b.Limited {
		b.Text = plural(a.Used, "request") + " today; no daily limit is configured"
		return b
	}
	b.Text = fmt.Sprintf("%s of %s used, %s left", number(int64(a.Used)), plural(a.Limit, "request"), number(int64(a.Remaining)))
	if a.Ratio > 1 {
		b.Stretch = fmt.Sprintf("To make them last, every interval is stretched by %.2f.", a.Ratio)
	}
	return b
}

// resetOf says when the quota day ends.
func resetOf(data Data) string {
	return fmt.Sprintf("at %s in %s, in %s", data.Account.Reset.In(data.Zone).Format("15:04"), data.Zone, wait(data.Account.Reset.Sub(data.Now)))
}

// scrapedOf says when the latest scrape was.
func scrapedOf(data Data) string {
	if data.LastScrape.IsZero() {
		return fmt.Sprintf("No scrape since the start, %s ago.", span(data.Now.Sub(data.Started)))
	}
	return fmt.Sprintf("Last scrape %s ago; started %s ago.", span(data.Now.Sub(data.LastScrape)), span(data.Now.Sub(data.Started)))
}
