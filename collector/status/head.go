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

// problem is a reason why something does not work, and what to do about it.
type problem struct {
	What, Advice string
	Bad          bool // whether it keeps values from coming
}

// verdictOf answers by what weighs most.
func verdictOf(data Data, t tally, problems []problem) Verdict {
	users := t.users()
	for _, p := range problems {
		if p.Bad {
			return Verdict{"bad", "Not working"}
		}
	}
	switch {
	case t[failing] == users:
		return Verdict{"bad", "Not working: every user is failing"}
	case t[failing] > 0:
		return Verdict{"partly", fmt.Sprintf("Partly working: %s of %s failing", number(int64(t[failing])), plural(users, "user"))}
	case t[stale] > 0:
		return Verdict{"partly", fmt.Sprintf("Partly working: %s of %s stale", number(int64(t[stale])), plural(users, "user"))}
	case data.LastScrape.IsZero():
		return Verdict{"partly", "Waiting for the first scrape"}
	case t[waiting] > 0:
		return Verdict{"partly", fmt.Sprintf("Starting: %s of %s not asked about yet", number(int64(t[waiting])), plural(users, "user"))}
	case len(problems) > 0:
		return Verdict{"partly", "Working, but look at this"}
	default:
		return Verdict{"good", "Working"}
	}
}

// problemsOf returns what is wrong beside single users, the worst first.
func problemsOf(data Data) []problem {
	var problems []problem
	add := func(bad bool, advice, what string, args ...any) {
		problems = append(problems, problem{What: fmt.Sprintf(what, args...), Advice: advice, Bad: bad})
	}
	if pause := data.Account.Pause; pause.Reason != "" {
		kind := justoneapi.ExplainReason(justoneapi.Reason(pause.Reason))
		add(true, kind.Advice, "Calls are paused: %s (%s). %s", kind.Meaning, kind.Code, nextProbe(data))
	}
	if data.Account.Limit > 0 && data.Account.Remaining == 0 {
		add(true, "Raise quota.daily_limit if the account allows more, or lengthen the intervals.",
			"Today's budget is used up: calls go on %s.", resetOf(data))
	}
	switch silence := data.Now.Sub(data.LastScrape); {
	case data.LastScrape.IsZero() && data.Now.Sub(data.Started) > longSilence:
		add(true, "Nothing is asked without a scrape. Look at Prometheus: its page Status, Targets.", "Nobody has scraped since the start, %s ago.", span(data.Now.Sub(data.Started)))
	case !data.LastScrape.IsZero() && silence > longSilence:
		add(true, "Nothing is asked without a scrape. Look at Prometheus: its page Status, Targets.", "Nobody has scraped for %s.", span(silence))
	}
	if data.ReloadError != "" {
		add(false, "Mend it and reload; until then the configuration before stays in force.", "The latest reload failed: %s", data.ReloadError)
	}
	if data.StorageError != "" {
		add(false, "Look at the disk: what is not written is forgotten at a restart, which then asks, and pays, again.", "The state is not on disk: %s", data.StorageError)
	}
	return problems
}

func nextProbe(data Data) string {
	if wait := data.Account.Pause.Resume.Sub(data.Now); wait > 0 {
		return fmt.Sprintf("The next scrape after %s UTC, in %s, probes whether they can go on.", data.Account.Pause.Resume.UTC().Format("15:04:05"), span(wait))
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
	return fmt.Sprintf("at %s in %s, in %s", data.Account.Reset.In(data.Zone).Format("15:04"), data.Zone, span(data.Account.Reset.Sub(data.Now)))
}

// scrapedOf says when the latest scrape was.
func scrapedOf(data Data) string {
	if data.LastScrape.IsZero() {
		return fmt.Sprintf("No scrape since the start, %s ago.", span(data.Now.Sub(data.Started)))
	}
	return fmt.Sprintf("Last scrape %s ago; started %s ago.", span(data.Now.Sub(data.LastScrape)), span(data.Now.Sub(data.Started)))
}
