package quota

import (
	"sort"
	"time"
)

// day is a quota day: from the first instant of a date in a zone, inclusive, to that of the next date, exclusive.
type day struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// newDay returns the day that contains t.
func newDay(t time.Time, zone *time.Location) day {
	year, month, date := t.In(zone).Date()
	start := firstInstant(year, month, date, zone)
	if t.Before(start) { // this date has started, but the clock is yet to be set back to the date before
		return day{firstInstant(year, month, date-1, zone), start}
	}
	return day{start, firstInstant(year, month, date+1, zone)}
}

func (d day) contains(t time.Time) bool { return !t.Before(d.Start) && t.Before(d.End) }

func (d day) length() time.Duration { return d.End.Sub(d.Start) }

// firstInstant returns when a date starts in a zone. If the clock is then set back to the date before, it returns when
// the date starts for the last time. That need not be at 00:00, because some zones set the clock forward across
// midnight. A few zones have skipped a date; for such a date it returns when the next one starts.
func firstInstant(year int, month time.Month, date int, zone *time.Location) time.Time {
	wanted := time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
	const most = 26 * time.Hour // more than the offset of any zone from UTC
	earliest := wanted.Add(-most)
	seconds := sort.Search(int(2*most/time.Second), func(s int) bool {
		y, m, d := earliest.Add(time.Duration(s) * time.Second).In(zone).Date()
		return !time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(wanted)
	})
	return earliest.Add(time.Duration(seconds) * time.Second)
}
