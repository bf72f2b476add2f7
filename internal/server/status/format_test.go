package status

import (
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"
)

// english renders in English.
var english = renderer{Language: locale.English}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min",
		61 * time.Minute: "1 h 1 min", 24 * time.Hour: "1 d", 49*time.Hour + 59*time.Minute: "2 d 1 h",
		100 * 365 * 24 * time.Hour: "36,500 d",
	} {
		if got := strings.ReplaceAll(english.duration(d), "\u00a0", " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestWait(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Nanosecond: "1 s", 59*time.Second + 1: "1 min", time.Minute: "1 min", time.Minute + 1: "2 min",
		4*time.Hour - 1: "4 h",
	} {
		if got := strings.ReplaceAll(english.wait(d), "\u00a0", " "); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestFormatAmount(t *testing.T) {
	for amount, want := range map[float64]string{
		0: "0.00", -0.001: "0.00", 0.005: "0.01", -12.3: "−12.30", 1234567.891: "1,234,567.89", 999.999: "1,000.00",
		999_999_999_999_999: "999,999,999,999,999.00",
	} {
		if got := formatAmount(amount); got != want {
			t.Errorf("%v: got %s, want %s", amount, got, want)
		}
	}
}

func TestDays(t *testing.T) {
	for days, want := range map[float64]string{
		-1: "0.0 days", 2.99: "2.9 days", 9.99: "9.9 days", 10: "10 days", 1234.5: "1,234 days",
		1e300: "more than 9,999 days",
	} {
		if got := strings.ReplaceAll(english.days(days), "\u00a0", " "); got != want {
			t.Errorf("%v: got %s, want %s", days, got, want)
		}
	}
}

func TestFormatNumber(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 4153991: "4,153,991", -1234: "−1,234",
		-9223372036854775808: "−9,223,372,036,854,775,808",
	} {
		if got := formatNumber(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	if got := formatChange(12) + formatChange(0) + formatChange(-12); got != "+120−12" {
		t.Errorf("got %s", got)
	}
}
