package status

import (
	"slices"
	"strconv"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// problem is a problem of the exporter, rather than of a user, and what to do about it.
type problem struct {
	Headline    string // short description if no values are updated, else empty
	Description string
	Advice      string
	Document    string // address of the document about it
}

const (
	// longSilence is how long the exporter may go without a scrape before the page shows a problem.
	longSilence = 15 * time.Minute
	// largeStretch is the stretch ratio above which the page shows a problem.
	largeStretch = 2
)

// findProblems returns the exporter's problems, the most serious first.
func (r renderer) findProblems() []problem {
	var problems []problem
	for _, find := range []func() *problem{
		r.shuttingDown, r.paused, r.usedUp, r.stretched, r.notScraped, r.reloadFailed, r.storageFailed, r.refusedReplica,
		r.tokenUnreadable, r.damaged,
	} {
		if p := find(); p != nil {
			problems = append(problems, *p)
		}
	}
	return problems
}

func (r renderer) shuttingDown() *problem {
	if !r.Closing {
		return nil
	}
	return &problem{
		Headline:    r.Text("the exporter is shutting down"),
		Description: r.Text("The exporter is shutting down and starts no more requests."),
		Advice:      r.Text("It waits for requests in flight, at most for api.timeout."),
		Document:    r.Document("configuration.md#command-line-flags"),
	}
}

// runbooks are the documents about pauses.
var runbooks = map[justoneapi.Reason]string{
	justoneapi.ReasonToken:      "alerts.md#bilibilitokenrefused",
	justoneapi.ReasonPermission: "alerts.md#bilibilitokenrefused",
	justoneapi.ReasonTokenLimit: "alerts.md#bilibilitokenrefused",
	justoneapi.ReasonBalance:    "alerts.md#bilibilibalanceempty",
	justoneapi.ReasonDailyQuota: "alerts.md#bilibilidailyquotaexceeded",
	justoneapi.ReasonRateLimit:  "operations.md#when-the-account-is-refused",
	reasonOutage:                "alerts.md#bilibiliupstreamoutage",
}

// reasonOutage is the reason of a pause that is not due to the account.
const reasonOutage = justoneapi.Reason(quota.ReasonOutage)

func (r renderer) paused() *problem {
	reason := justoneapi.Reason(r.Account.Pause.Reason)
	if reason == "" {
		return nil
	}
	p := &problem{Advice: r.advise(justoneapi.Kind{Reason: reason}), Document: r.Document(runbooks[reason])}
	var cause string
	if reason == reasonOutage {
		cause = r.Text("the upstream is failing")
		p.Headline = r.describeOutage()
	} else {
		kind := justoneapi.ExplainReason(reason)
		cause = r.Text("%s (%s)", r.Text(kind.Meaning), kind.Code)
		p.Headline = r.since(r.Text("%s, requests paused", cause), r.Account.Pause.Since)
	}
	p.Description = r.Text("Requests are paused: %s. Next probe: %s.", cause, r.nextProbe())
	return p
}

// advise returns what to do about failures of a kind.
func (r renderer) advise(kind justoneapi.Kind) string {
	var sentences []string
	for _, text := range r.Advice.Texts(kind) {
		sentences = append(sentences, r.Text(text))
	}
	return r.Join(sentences...)
}

// nextProbe describes the scrape that sends the next probe of a pause: the first one at which a user is due.
func (r renderer) nextProbe() string {
	due := r.Now
	if len(r.Users) > 0 {
		first := slices.MinFunc(r.Users, func(a, b collector.UserSnapshot) int { return a.State.Due.Compare(b.State.Due) })
		due = latest(r.Now, first.State.Due)
	}
	if probe := r.Account.Earliest(due); probe.After(r.Now) {
		return r.Text("first scrape after %s", r.until(probe))
	}
	return r.Text("next scrape")
}

func (r renderer) usedUp() *problem {
	if r.Account.Limit == 0 || r.Account.Remaining > 0 {
		return nil
	}
	return &problem{
		Headline:    r.Text("today’s budget is used up, requests resume at %s", r.until(r.Account.Reset)),
		Description: r.Text("Today’s budget is used up. Requests resume at %s.", r.until(r.Account.Reset)),
		Advice:      r.Text("Raise quota.daily_limit if the account allows more, or lengthen the intervals."),
		Document:    r.Document("operations.md#daily-budget"),
	}
}

func (r renderer) stretched() *problem {
	if r.Account.Limit > 0 && r.Account.Remaining == 0 || r.Account.Ratio <= largeStretch {
		return nil
	}
	return &problem{
		Description: r.Text("The daily limit is low: to stay within it, every interval is stretched by %s.",
			strconv.FormatFloat(r.Account.Ratio, 'f', 1, 64)),
		Advice: r.Text("Values are updated less often. Raise quota.daily_limit if the account allows more, " +
			"lengthen the intervals, or configure fewer users."),
		Document: r.Document("alerts.md#bilibiliquotastretched"),
	}
}

func (r renderer) notScraped() *problem {
	last := latest(r.LastScrape, r.Started)
	silence := r.Now.Sub(last)
	if silence <= max(longSilence, r.minInterval()) {
		return nil
	}
	return &problem{
		Headline:    r.since(r.Text("no scrape"), last),
		Description: r.Text("No scrape for %s.", r.duration(silence)),
		Advice:      r.Text("Requests are made only on scrapes. Check the target in Prometheus (Status, Targets)."),
		Document:    r.Document("alerts.md#bilibiliexporterdown"),
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// minInterval returns the shortest interval of all users. More frequent scrapes are not needed.
func (r renderer) minInterval() time.Duration {
	var shortest time.Duration
	for i, user := range r.Users {
		if i == 0 || user.State.Interval < shortest {
			shortest = user.State.Interval
		}
	}
	return shortest
}

func (r renderer) reloadFailed() *problem {
	if r.ReloadError.Text == "" {
		return nil
	}
	return &problem{
		Description: r.Text("Reloading the configuration has failed since %s, and the previous one is used: %s",
			r.clock(r.ReloadError.Since), r.ReloadError.Text),
		Advice:   r.Text("Fix it and reload again."),
		Document: r.Document("alerts.md#bilibiliconfigreloadfailed"),
	}
}

func (r renderer) storageFailed() *problem {
	failure, since := r.StorageError.Text, r.StorageError.Since
	switch {
	case failure == "":
		return nil
	case r.Replica != nil:
		return &problem{
			Headline:    r.since(r.Text("the database cannot be used"), since),
			Description: r.Text("Using the database has failed since %s: %s", r.clock(since), failure),
			Advice:      r.Text("Requests are sent again once the database can be used."),
			Document:    r.Document("alerts.md#bilibilistoragefailing"),
		}
	default:
		return &problem{
			Description: r.Text("Writing persistent state has failed since %s: %s", r.clock(since), failure),
			Advice:      r.Text("Check the disk: a restart would request users again, which may be billed."),
			Document:    r.Document("alerts.md#bilibilistoragefailing"),
		}
	}
}

func (r renderer) refusedReplica() *problem {
	if r.Replica == nil || r.Replica.Refused == "" {
		return nil
	}
	p := &problem{
		Description: r.Text("This replica cannot become active: %s", r.Replica.Refused),
		Advice:      r.Text("Synchronize the clocks, for instance by NTP."),
		Document:    r.Document("alerts.md#bilibilinoactiveexporter"),
	}
	if !r.Replica.Held {
		p.Headline = r.Text("no replica is active")
	}
	return p
}

func (r renderer) tokenUnreadable() *problem {
	if r.TokenError.Text == "" {
		return nil
	}
	return &problem{
		Description: r.Text("Reading the token has failed since %s, and the last valid one is used: %s",
			r.clock(r.TokenError.Since), r.TokenError.Text),
		Advice:   r.Text("Restore the file: the exporter does not start without it."),
		Document: r.Document("operations.md#rotate-the-token"),
	}
}

// damageMatters reports whether damage of the state at startup still has an effect, which it has on that quota day.
func (r renderer) damageMatters() bool {
	return r.Damage != nil &&
		r.Now.In(r.Zone).Format(time.DateOnly) == r.Started.In(r.Zone).Format(time.DateOnly)
}

func (r renderer) damaged() *problem {
	if !r.damageMatters() {
		return nil
	}
	return &problem{
		Description: r.Text("The persistent state was damaged at startup and was renamed to %s: %s",
			r.Damage.RenamedTo, r.Damage.Error),
		Advice: r.Text("All users are requested again, which may be billed. No action is needed, but check the disk. " +
			"Delete the renamed file once nobody wants to examine it."),
		Document: r.Document("operations.md#storage"),
	}
}
