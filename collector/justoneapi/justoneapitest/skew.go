package justoneapitest

import (
	"time"
	"unsafe"
)

// Skew returns a reading of both clocks at the moment t, but of a wall clock that is ahead by d. So a test can have
// a machine that was suspended since, or whose clock was set. It panics if t has no monotonic reading.
func Skew(t time.Time, d time.Duration) time.Time {
	skewed := t.Add(d)
	reading := (*struct { // the layout of time.Time
		wall      uint64
		monotonic int64
		location  *time.Location
	})(unsafe.Pointer(&skewed))
	reading.monotonic -= int64(d)
	if skewed.Sub(t) != 0 || skewed.Round(0).Sub(t.Round(0)) != d {
		panic("justoneapitest: a time without a monotonic reading, or with a different layout")
	}
	return skewed
}
