package status

import (
	"strconv"
	"time"
)

// budget is what is charged to the quota day.
type budget struct {
	Limited     bool
	Used, Limit int
	Usage       string
	Reset       string
	Damage      string // why more is charged than was requested; may be empty
}

func (r renderer) newBudget() budget {
	a := r.Account
	b := budget{
		Limited: a.Limit > 0, Used: min(a.Used, a.Limit), Limit: a.Limit,
		Reset: r.Text("Resets at %s.", r.until(a.Reset)),
	}
	if !b.Limited {
		b.Usage = r.Text("%s charged today; no daily limit is configured", r.requests(a.Used))
		return b
	}
	b.Usage = r.Text("%s of %s charged, %s left", formatNumber(a.Used), r.requests(a.Limit), formatNumber(a.Remaining))
	if a.Remaining > 0 && a.Ratio >= 1.01 {
		b.Reset = r.Join(b.Reset, r.Text("Until then, every interval is stretched by %s.",
			strconv.FormatFloat(a.Ratio, 'f', 2, 64)))
	}
	if r.damageMatters() {
		b.Damage = r.Text("Because the state was damaged at startup (%s), the share of the day that had passed by then "+
			"counts as used.", r.clock(r.Started))
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
func (r renderer) newBalance() *balance {
	if r.BalanceInterval == 0 {
		return nil
	}
	a := r.Account
	switch {
	case a.BalanceRequested.IsZero():
		return &balance{Text: r.Text("Not yet requested.")}
	case a.Balance.At.IsZero():
		return &balance{
			Text: r.Text("Not known; last requested %s. The log has the error, if any.", r.ago(a.BalanceRequested)),
		}
	}
	b := &balance{
		Text:    r.Text("%s %s, received %s", formatAmount(a.Balance.Amount), a.Balance.Currency, r.ago(a.Balance.At)),
		Expired: a.BalanceExpired(r.BalanceInterval, r.Now),
	}
	switch {
	case b.Expired:
		b.Detail = r.Text("Last requested %s. The log has the error, if any.", r.ago(a.BalanceRequested))
	case a.SpentPerDay > 0:
		b.Detail = r.Text("Lasts %s at the rate of the last day, %s %s per day.",
			r.days(a.Balance.Amount/a.SpentPerDay), formatAmount(a.SpentPerDay), a.Balance.Currency)
	}
	return b
}

// describeFirstScrape describes how to trigger the first scrape. It is empty if there has been one.
func (r renderer) describeFirstScrape() string {
	if !r.LastScrape.IsZero() {
		return ""
	}
	return r.Join(r.Text("Add this exporter to the targets of Prometheus. To try it at once, open the metrics: "+
		"that is a scrape, so the users that are due are requested."), r.billing())
}

// billing says whether a request is billed.
func (r renderer) billing() string {
	if r.Demo {
		return r.Text("Nothing is billed in this demo.")
	}
	return r.Text("Requests may be billed.")
}

// describeScrapes describes when the last scrape was.
func (r renderer) describeScrapes() string {
	if r.LastScrape.IsZero() {
		return r.Text("No scrape since startup %s.", r.ago(r.Started))
	}
	return r.Text("Last scrape %s; started %s.", r.ago(r.LastScrape), r.ago(r.Started))
}

// describeQueue describes how many users wait for their request, and how long that takes.
func (r renderer) describeQueue() string {
	queued := 0
	for _, e := range r.entries {
		if !e.State.InFlight && !e.State.Due.After(r.Now) {
			queued++
		}
	}
	text := r.describeQueued(queued)
	if r.Account.InFlight > 0 {
		text = r.Join(text, r.Text("%s in flight.", r.requests(r.Account.InFlight)))
	}
	return text
}

func (r renderer) describeQueued(queued int) string {
	a := r.Account
	switch {
	case queued == 0:
		return r.Text("Queue: no user is due.")
	case r.Replica != nil && !r.Replica.Active:
		return r.Text("Queue: %s due, for the active replica.", r.users(queued))
	case a.Pause.Reason != "":
		return r.Text("Queue: %s due, waiting for the end of the pause.", r.users(queued))
	case a.Limit > 0 && a.Remaining == 0:
		return r.Text("Queue: %s due, waiting for the next budget.", r.users(queued))
	default:
		needed := time.Duration(float64(queued) / r.RequestRate * float64(time.Second))
		return r.Text("Queue: %s due. The requests take about %s.", r.users(queued), r.wait(needed))
	}
}
