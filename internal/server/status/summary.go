package status

import (
	"fmt"
	"slices"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// headline says in a sentence whether the exporter works.
type headline struct {
	Class string // good, partly or bad
	Text  string
}

// problem is a problem of the exporter, rather than of a user, and what to do about it.
type problem struct {
	Description, Advice string
	Headline            string // short description if no values are updated, else empty
}

// newHeadline returns the headline for the most serious problem.
func newHeadline(data Data, counts healthCounts, problems []problem) headline {
	class, prefix := "partly", "Partly working: "
	if counts[fresh] == 0 {
		class, prefix = "bad", "Not working: "
	}
	for _, p := range problems {
		if p.Headline != "" {
			return headline{class, prefix + p.Headline}
		}
	}
	share := func(h health) string {
		return fmt.Sprintf("%s of %s %s", formatNumber(counts[h]), plural(len(data.Users), "user"), h)
	}
	switch {
	case data.LastScrape.IsZero():
		return headline{"partly", "Waiting for the first scrape"}
	case counts[failing] > 0:
		return headline{class, prefix + share(failing)}
	case counts[stale] > 0:
		return headline{class, prefix + share(stale)}
	case counts[waiting] > 0:
		return headline{"partly", "Starting: " + share(waiting)}
	case len(problems) > 0:
		return headline{"partly", "Working, with warnings"}
	case data.Replica != nil && !data.Replica.Active:
		return headline{"good", "Working, on standby"}
	default:
		return headline{"good", "Working"}
	}
}

const (
	// longSilence is how long the exporter may go without a scrape before the page shows a problem.
	longSilence = 15 * time.Minute
	// largeStretch is the stretch ratio above which the page shows a problem.
	largeStretch = 2
)

// findProblems returns the exporter's problems, the most serious first.
func findProblems(data Data) []problem {
	var problems []problem
	add := func(headline, description, advice string) {
		problems = append(problems, problem{description, advice, headline})
	}
	if data.Closing {
		add("the exporter is shutting down", "The exporter is shutting down and starts no more requests.",
			"It waits for requests in flight, at most for api.timeout.")
	}
	a := data.Account
	if reason := justoneapi.Reason(a.Pause.Reason); reason != "" {
		headline, cause := describePause(reason)
		add(headline, fmt.Sprintf("Requests are paused: %s. Next probe: %s.", cause, nextProbe(data)),
			data.Advice.For(justoneapi.Kind{Reason: reason}))
	}
	switch {
	case a.Limit > 0 && a.Remaining == 0:
		add("today’s budget is used up", "Today’s budget is used up. Requests resume at "+formatTime(data, a.Reset)+".",
			"Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	case a.Ratio > largeStretch:
		add("", fmt.Sprintf("The daily limit is low: to stay within it, every interval is stretched by %.1f.", a.Ratio),
			"Values are updated less often. Raise quota.daily_limit if the account allows more, lengthen the intervals, "+
				"or configure fewer users.")
	}
	if silence := data.Now.Sub(latest(data.LastScrape, data.Started)); silence > max(longSilence, minInterval(data)) {
		add("the exporter is not scraped", fmt.Sprintf("No scrape for %s.", formatDuration(silence)),
			"Requests are made only on scrapes. Check the target in Prometheus (Status, Targets).")
	}
	if data.ReloadError != "" {
		add("", "Error reloading configuration, keeping the previous one: "+data.ReloadError,
			"Fix it and reload again.")
	}
	switch {
	case data.StorageError != "" && data.Replica != nil:
		add("the database cannot be used", "Error using the database: "+data.StorageError,
			"Requests are sent again once the database can be used.")
	case data.StorageError != "":
		add("", "Error writing persistent state: "+data.StorageError,
			"Check the disk: a restart would request users again, which may be billed.")
	}
	if r := data.Replica; r != nil && r.Refused != "" {
		headline := ""
		if !r.Held {
			headline = "no replica is active"
		}
		add(headline, "This replica cannot become active: "+r.Refused, "Synchronize the clocks, for instance by NTP.")
	}
	if data.TokenError != "" {
		add("", "Error reading the token, using the last valid one: "+data.TokenError,
			"Restore the file: the exporter does not start without it.")
	}
	return problems
}

// describePause describes the reason of a pause, for the headline and in detail.
func describePause(reason justoneapi.Reason) (headline, cause string) {
	if reason == justoneapi.Reason(quota.ReasonOutage) {
		return "requests are paused, the upstream is failing", "the upstream is failing"
	}
	kind := justoneapi.ExplainReason(reason)
	return "requests are paused", fmt.Sprintf("%s (%s)", kind.Meaning, kind.Code)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// minInterval returns the shortest interval of all users. More frequent scrapes are not needed.
func minInterval(data Data) time.Duration {
	var shortest time.Duration
	for i, user := range data.Users {
		if i == 0 || user.State.Interval < shortest {
			shortest = user.State.Interval
		}
	}
	return shortest
}

// nextProbe describes the scrape that sends the next probe of a pause: the first one at which a user is due.
func nextProbe(data Data) string {
	due := data.Now
	if len(data.Users) > 0 {
		first := slices.MinFunc(data.Users, func(a, b collector.UserSnapshot) int { return a.State.Due.Compare(b.State.Due) })
		due = latest(data.Now, first.State.Due)
	}
	if probe := data.Account.Earliest(due); probe.After(data.Now) {
		return "first scrape after " + formatTime(data, probe)
	}
	return "next scrape"
}

// formatTime formats a future time of day in the time zone of the quota day.
func formatTime(data Data, t time.Time) string {
	return fmt.Sprintf("%s %s (in %s)", t.In(data.Zone).Format("15:04"), data.Zone, formatWait(t.Sub(data.Now)))
}

// budget is what is charged to the quota day.
type budget struct {
	Limited     bool
	Used, Limit int
	Usage       string
	Reset       string
}

func newBudget(data Data) budget {
	a := data.Account
	b := budget{
		Limited: a.Limit > 0, Used: min(a.Used, a.Limit), Limit: a.Limit,
		Reset: "Resets at " + formatTime(data, a.Reset) + ".",
	}
	if !b.Limited {
		b.Usage = plural(a.Used, "request") + " charged today; no daily limit is configured"
		return b
	}
	b.Usage = fmt.Sprintf("%s of %s requests charged, %s left",
		formatNumber(a.Used), formatNumber(a.Limit), formatNumber(a.Remaining))
	if a.Remaining > 0 && a.Ratio >= 1.01 {
		b.Reset += fmt.Sprintf(" Until then, every interval is stretched by %.2f.", a.Ratio)
	}
	return b
}

// balance is the balance of the account.
type balance struct {
	Text    string // amount and age
	Expired bool   // whether the amount is no longer exposed
	Detail  string // how long it lasts; may be empty
}

// newBalance returns nil if the exporter does not request the balance.
func newBalance(data Data) *balance {
	if data.BalanceInterval == 0 {
		return nil
	}
	a := data.Account
	ago := func(t time.Time) string { return formatDuration(data.Now.Sub(t)) + " ago" }
	switch {
	case a.BalanceRequested.IsZero():
		return &balance{Text: "Not yet requested."}
	case a.Balance.At.IsZero():
		return &balance{Text: "Not known; last requested " + ago(a.BalanceRequested) + ". The log has the error, if any."}
	}
	b := &balance{
		Text:    fmt.Sprintf("%s %s, received %s", formatAmount(a.Balance.Amount), a.Balance.Currency, ago(a.Balance.At)),
		Expired: a.BalanceExpired(data.BalanceInterval, data.Now),
	}
	switch {
	case b.Expired:
		b.Detail = "Last requested " + ago(a.BalanceRequested) + ". The log has the error, if any."
	case a.SpentPerDay > 0:
		b.Detail = fmt.Sprintf("Lasts %s at the rate of the last day, %s %s per day.",
			formatDays(a.Balance.Amount/a.SpentPerDay), formatAmount(a.SpentPerDay), a.Balance.Currency)
	}
	return b
}

// describeScrapes describes when the last scrape was.
func describeScrapes(data Data) string {
	started := formatDuration(data.Now.Sub(data.Started))
	if data.LastScrape.IsZero() {
		return fmt.Sprintf("No scrape since startup %s ago.", started)
	}
	return fmt.Sprintf("Last scrape %s ago; started %s ago.", formatDuration(data.Now.Sub(data.LastScrape)), started)
}
