package status

import (
	"fmt"
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

// span writes a duration with its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return twoUnits(int64(d/time.Hour), "h", int64(d%time.Hour/time.Minute), "min")
	default:
		return twoUnits(int64(d/day), "d", int64(d%day/time.Hour), "h")
	}
}

func twoUnits(n int64, unit string, m int64, smaller string) string {
	if m == 0 {
		return fmt.Sprintf("%s %s", number(n), unit)
	}
	return fmt.Sprintf("%s %s %d %s", number(n), unit, m, smaller)
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

// sentence makes words that begin low into a sentence.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
