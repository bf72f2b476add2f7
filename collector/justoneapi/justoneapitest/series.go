package justoneapitest

import (
	"math"
	"time"
)

// Series is a count as a function of time.
type Series func(time.Time) int64

// Constant is always n.
func Constant(n int64) Series {
	return func(time.Time) int64 { return n }
}

// Growth is n at the time since, and grows by perHour every hour.
func Growth(n int64, since time.Time, perHour float64) Series {
	return func(t time.Time) int64 {
		return n + int64(t.Sub(since).Hours()*perHour)
	}
}

// Noise is s plus or minus up to amplitude. It changes every second, and is the same at the same time.
func Noise(s Series, amplitude int64) Series {
	return func(t time.Time) int64 {
		_, fraction := math.Modf(math.Abs(math.Sin(float64(t.Unix()))) * 1e4)
		return s(t) + int64(math.Round((2*fraction-1)*float64(amplitude)))
	}
}

// Drop is s until the time at, and n less from then on.
func Drop(s Series, at time.Time, n int64) Series {
	return func(t time.Time) int64 {
		if t.Before(at) {
			return s(t)
		}
		return s(t) - n
	}
}
