package status

import (
	"strconv"
	"strings"
	"time"
)

// number writes a number with commas between thousands.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}

// signed writes a number that is a change.
func signed(n int64) string {
	if n > 0 {
		return "+" + number(n)
	}
	return number(n)
}

// unbroken is a space at which no line ends.
const unbroken = "\u00a0"

// span writes a duration with its two largest units, rounded down.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	switch {
	case d < time.Minute:
		return quantity(d/time.Second, "s")
	case d < time.Hour:
		return quantity(d/time.Minute, "min")
	case d < day:
		return twoUnits(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	default:
		return twoUnits(d/day, "d", d%day/time.Hour, "h")
	}
}

// wait writes how long something is still to be waited for, rounded up.
func wait(d time.Duration) string {
	unit := time.Second
	if d > time.Minute {
		unit = time.Minute
	}
	return span((d + unit - 1).Truncate(unit))
}

func quantity(n time.Duration, unit string) string { return number(int64(n)) + unbroken + unit }

func twoUnits(n time.Duration, unit string, m time.Duration, smaller string) string {
	if m == 0 {
		return quantity(n, unit)
	}
	return quantity(n, unit) + unbroken + quantity(m, smaller)
}

// moment is a time as people and programs read it.
type moment struct {
	Text string // relative to now
	Time string // RFC 3339 in UTC; empty for no time
}

// momentOf returns a moment with the given text; a zero time has none.
func momentOf(t time.Time, text string) moment {
	if t.IsZero() {
		return moment{Text: text}
	}
	return moment{text, t.UTC().Format(time.RFC3339)}
}

// plural returns the number with the noun's right form.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(int64(n)) + " " + noun + "s"
}
