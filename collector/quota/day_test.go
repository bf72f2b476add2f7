package quota

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func location(t interface{ Fatal(...any) }, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestDayOf(t *testing.T) {
	for _, test := range []struct {
		name, zone, at, start string // at and start in UTC
		length                time.Duration
	}{
		{"ordinary", "Asia/Shanghai", "2026-11-23 08:00", "2026-11-22 16:00", 24 * time.Hour},
		{"first instant", "Asia/Shanghai", "2026-11-22 16:00", "2026-11-22 16:00", 24 * time.Hour},
		{"the instant before", "Asia/Shanghai", "2026-11-22 15:59", "2026-11-21 16:00", 24 * time.Hour},
		{"half-hour zone", "Asia/Kolkata", "2026-11-23 08:00", "2026-11-22 18:30", 24 * time.Hour},
		{"23 hours", "America/New_York", "2026-03-08 12:00", "2026-03-08 05:00", 23 * time.Hour},
		{"25 hours", "America/New_York", "2026-11-01 12:00", "2026-11-01 04:00", 25 * time.Hour},
		{"starts at 01:00, Havana", "America/Havana", "2026-03-08 12:00", "2026-03-08 05:00", 23 * time.Hour},
		{"before it starts, Havana", "America/Havana", "2026-03-08 04:59", "2026-03-07 05:00", 24 * time.Hour},
		{"00:00 occurs twice, Havana", "America/Havana", "2026-11-01 05:30", "2026-11-01 04:00", 25 * time.Hour},
		{"starts at 01:00, Cairo", "Africa/Cairo", "2026-04-24 12:00", "2026-04-23 22:00", 23 * time.Hour},
		{"before midnight occurs again, Cairo", "Africa/Cairo", "2026-10-29 20:30", "2026-10-28 21:00", 25 * time.Hour},
		{"before a skipped date, Apia", "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00", 24 * time.Hour},
		{"after a skipped date, Apia", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", 24 * time.Hour},
		{"farthest east", "Pacific/Kiritimati", "2026-11-23 08:00", "2026-11-22 10:00", 24 * time.Hour},
		{"farthest west", "Etc/GMT+12", "2026-11-23 08:00", "2026-11-22 12:00", 24 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			const layout = "2006-01-02 15:04"
			at, err := time.Parse(layout, test.at)
			if err != nil {
				t.Fatal(err)
			}
			d := newDay(at, location(t, test.zone))
			if got := d.Start.UTC().Format(layout); got != test.start || d.length() != test.length {
				t.Errorf("got %s for %v, want %s for %v", got, d.length(), test.start, test.length)
			}
		})
	}
}

// TestDays checks that the days of any zone follow each other without gaps or overlaps.
func TestDays(t *testing.T) {
	zones := []string{
		"Asia/Shanghai", "UTC", "America/Havana", "Africa/Cairo", "Africa/Casablanca", "America/Sao_Paulo",
		"Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Asia/Tehran", "America/Scoresbysund",
		"Antarctica/Troll", "Asia/Gaza",
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := location(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		if _, change := at.In(zone).ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change of the clock") {
			at = change.Add(time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(2*time.Hour)).Draw(t, "offset")))
		}
		d := newDay(at, zone)
		if !d.contains(at) {
			t.Errorf("%v is not in its day from %v to %v", at, d.Start, d.End)
		}
		if length := d.length(); length < 20*time.Hour || length > 28*time.Hour {
			t.Errorf("the day of %v has a length of %v", at, length)
		}
		if next := newDay(d.End, zone); !next.Start.Equal(d.End) {
			t.Errorf("the day after the one that ends at %v starts at %v", d.End, next.Start)
		}
		if previous := newDay(d.Start.Add(-1), zone); !previous.End.Equal(d.Start) {
			t.Errorf("the day before the one that starts at %v ends at %v", d.Start, previous.End)
		}
	})
}
