package quota

import (
	"sort"
	"time"
)

// day is a quota day: from the first instant of a date in some zone up to the
// first instant of the next.
type day struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// dayOf returns the day that t is in.
func dayOf(t time.Time, zone *time.Location) day {
	year, month, date := t.In(zone).Date()
	start := firstInstant(year, month, date, zone)
	if t.Before(start) { // a minute of this date passes before the clock is set back into the last
		return day{firstInstant(year, month, date-1, zone), start}
	}
	return day{start, firstInstant(year, month, date+1, zone)}
}

func (d day) contains(t time.Time) bool { return !t.Before(d.Start) && t.Before(d.End) }

func (d day) length() time.Duration { return d.End.Sub(d.Start) }

// firstInstant returns when a date begins in a zone, for good if the clock is
// then set back into the date before. That need not be at 00:00: clocks are set
// forward over midnight in some zones, and a few dates were left out, for which
// it is when the next begins.
func firstInstant(year int, month time.Month, date int, zone *time.Location) time.Time {
	wanted := time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
	const most = 26 * time.Hour // more than any zone is away from UTC
	earliest := wanted.Add(-most)
	seconds := sort.Search(int(2*most/time.Second), func(s int) bool {
		y, m, d := earliest.Add(time.Duration(s) * time.Second).In(zone).Date()
		return !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(wanted)
	})
	return earliest.Add(time.Duration(seconds) * time.Second)
}
