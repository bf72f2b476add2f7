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

// formatDays formats a number of days, rounded down.
func formatDays(days float64) string {
	const most = 9999
	days = max(0, days)
	switch {
	case days > most:
		return "more than " + formatNumber(most) + nbsp + "days"
	case days < 10:
		return strconv.FormatFloat(math.Floor(days*10)/10, 'f', 1, 64) + nbsp + "days"
	default:
		return formatNumber(int(days)) + nbsp + "days"
	}
}

// formatChange formats a number with its sign.
func formatChange(n int64) string {
	if n > 0 {
		return "+" + formatNumber(n)
	}
	return formatNumber(n)
}

// plural formats a number with a noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return formatNumber(n) + " " + noun + "s"
}

// nbsp is a no-break space.
const nbsp = "\u00a0"

// formatDuration formats a duration with its two largest units, rounded down.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	switch {
	case d < time.Minute:
		return quantity(d/time.Second, "s")
	case d < time.Hour:
		return quantity(d/time.Minute, "min")
	case d < day:
		return twoQuantities(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	default:
		return twoQuantities(d/day, "d", d%day/time.Hour, "h")
	}
}

// formatWait formats a duration until something happens, rounded up.
func formatWait(d time.Duration) string {
	unit := time.Second
	if d > time.Minute {
		unit = time.Minute
	}
	return formatDuration((d + unit - 1).Truncate(unit))
}

func quantity(n time.Duration, unit string) string { return formatNumber(int64(n)) + nbsp + unit }

func twoQuantities(n time.Duration, unit string, m time.Duration, smaller string) string {
	if m == 0 {
		return quantity(n, unit)
	}
	return quantity(n, unit) + nbsp + quantity(m, smaller)
}

// relativeTime is a time for people and for programs.
type relativeTime struct {
	Text string // relative to now
	Time string // RFC 3339 in UTC; empty if there is no time
}

func newRelativeTime(t time.Time, text string) relativeTime {
	return relativeTime{text, t.UTC().Format(time.RFC3339)}
}
