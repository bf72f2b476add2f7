package server

import (
	"net/http"
	"testing"
	"time"
)

func TestScrapeTimeout(t *testing.T) {
	for _, test := range []struct {
		header string
		offset time.Duration
		want   time.Duration
	}{
		{"", 500 * time.Millisecond, 9500 * time.Millisecond},
		{"10", 500 * time.Millisecond, 9500 * time.Millisecond},
		{"60.000000", 500 * time.Millisecond, 59500 * time.Millisecond},
		{"0.8", 500 * time.Millisecond, 400 * time.Millisecond},
		{"1", 500 * time.Millisecond, 500 * time.Millisecond},
		{"10", 0, 10 * time.Second},
		{"10", time.Hour, 5 * time.Second},
		{"1e300", 0, 10 * time.Minute},
		{"1e999", 0, 10 * time.Minute},
		{"+Inf", 0, 10 * time.Minute},
		{"-1e999", 0, 10 * time.Second},
		{"-3", 0, 10 * time.Second},
		{"0", 0, 10 * time.Second},
		{"NaN", 0, 10 * time.Second},
		{"soon", 0, 10 * time.Second},
	} {
		if got := scrapeTimeout(http.Header{timeoutHeader: {test.header}}, test.offset); got != test.want {
			t.Errorf("%q less %v: got %v, want %v", test.header, test.offset, got, test.want)
		}
	}
}
