package status

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// formatNumber formats a number with commas between thousands.
func formatNumber[T int | int64](number T) string {
	digits := strconv.FormatInt(int64(number), 10)
	sign := ""
	if number < 0 {
		sign, digits = "−", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}

// formatAmount formats an amount of money with two decimals.
func formatAmount(amount float64) string {
	rounded := strconv.FormatFloat(math.Abs(amount), 'f', 2, 64)
	sign := ""
	if amount < 0 && rounded != "0.00" {
		sign = "−"
	}
	whole, cents, _ := strings.Cut(rounded, ".")
	n, _ := strconv.ParseInt(whole, 10, 64) // the API client accepts at most 15 digits
	return sign + formatNumber(n) + "." + cents
}

// formatChange formats a number with its sign.
func formatChange(n int64) string {
	if n > 0 {
		return "+" + formatNumber(n)
	}
	return formatNumber(n)
}

// days formats a number of days, rounded down.
func (r renderer) days(days float64) string {
	const most = 9999
	days = max(0, days)
	switch {
	case days > most:
		return r.Text("more than %s\u00a0days", formatNumber(most))
	case days < 10:
		return r.Text("%s\u00a0days", strconv.FormatFloat(math.Floor(days*10)/10, 'f', 1, 64))
	default:
		return r.Text("%s\u00a0days", formatNumber(int(days)))
	}
}

// users formats a number of users.
func (r renderer) users(n int) string {
	if n == 1 {
		return r.Text("1 user")
	}
	return r.Text("%s users", formatNumber(n))
}

// requests formats a number of requests.
func (r renderer) requests(n int) string {
	if n == 1 {
		return r.Text("1 request")
	}
	return r.Text("%s requests", formatNumber(n))
}

// duration formats a duration with its two largest units, rounded down.
func (r renderer) duration(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	hours, minutes := d%day/time.Hour, d%time.Hour/time.Minute
	switch {
	case d < time.Minute:
		return r.Text("%s\u00a0s", formatNumber(int64(d/time.Second)))
	case d < time.Hour:
		return r.Text("%s\u00a0min", formatNumber(int64(minutes)))
	case d < day && minutes == 0:
		return r.Text("%s\u00a0h", formatNumber(int64(hours)))
	case d < day:
		return r.Text("%s\u00a0h\u00a0%s\u00a0min", formatNumber(int64(hours)), formatNumber(int64(minutes)))
	case hours == 0:
		return r.Text("%s\u00a0d", formatNumber(int64(d/day)))
	default:
		return r.Text("%s\u00a0d\u00a0%s\u00a0h", formatNumber(int64(d/day)), formatNumber(int64(hours)))
	}
}

// wait formats a duration until something happens, rounded up.
func (r renderer) wait(d time.Duration) string {
	unit := time.Second
	if d > time.Minute {
		unit = time.Minute
	}
	return r.duration((d + unit - 1).Truncate(unit))
}

// ago formats how long ago a time was.
func (r renderer) ago(t time.Time) string { return r.Text("%s ago", r.duration(r.Now.Sub(t))) }

// in formats how long it takes until a time.
func (r renderer) in(t time.Time) string { return r.Text("in %s", r.wait(t.Sub(r.Now))) }

// clock formats a time of today, or of another day with its date.
func (r renderer) clock(t time.Time) string {
	t, now := t.In(r.Zone), r.Now.In(r.Zone)
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// until formats a time in the future.
func (r renderer) until(t time.Time) string {
	t = t.In(r.Zone)
	clock := t.Format("15:04")
	if t.Sub(r.Now) > 24*time.Hour {
		clock = r.clock(t)
	}
	return r.Text("%s (%s)", clock, r.in(t))
}

// exact formats a time with its zone.
func (r renderer) exact(t time.Time) string {
	return t.In(r.Zone).Format(time.DateTime) + " " + r.Zone.String()
}

// asOf says when the page was made, in which zone its times are, and whether it is refreshed.
func (r renderer) asOf(refreshed bool) string {
	text := r.Text("As of %s (UTC%s); all times are in this zone.", r.exact(r.Now), r.Now.In(r.Zone).Format("-07:00"))
	if refreshed {
		text = r.Join(text, r.Text("Refreshed every 30 s."))
	}
	return text
}

// relativeTime is a time for people and for programs.
type relativeTime struct {
	Text  string // relative to now
	Exact string // with its zone; empty if there is no time
	Time  string // RFC 3339
}

func (r renderer) relative(t time.Time, text string) relativeTime {
	return relativeTime{text, r.exact(t), t.In(r.Zone).Format(time.RFC3339)}
}
