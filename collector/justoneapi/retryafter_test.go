package justoneapi_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// TestRetryAfter reads the header Retry-After in seconds and as a date, of the responses for which it counts.
func TestRetryAfter(t *testing.T) {
	const second, minute = time.Second, time.Minute
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name     string
			response justoneapitest.Response
			value    string
			want     time.Duration
		}{
			{"seconds", justoneapitest.Body(429, "text/plain", ""), "120", 2 * minute},
			{"date", justoneapitest.Body(429, "text/plain", ""), in(2 * minute), 2 * minute},
			{"status 503", justoneapitest.Body(503, "text/plain", ""), "7", 7 * second},
			{"code 302", justoneapitest.Code(302, ""), "7", 7 * second},
			{"code 302 at status 429", justoneapitest.StatusCode(429, 302, ""), "7", 7 * second},
			{"code 303 at status 429", justoneapitest.StatusCode(429, 303, ""), "7", 0},
			{"code 503", justoneapitest.StatusCode(503, 503, ""), "7", 7 * second},
			{"status 502", justoneapitest.Body(502, "text/plain", ""), "7", 0},
			{"Bilibili's 302", justoneapitest.BilibiliCode(302, ""), "7", 0},
			{"none", justoneapitest.Body(429, "text/plain", ""), "", 0},
			{"past", justoneapitest.Body(429, "text/plain", ""), in(-minute), 0},
			{"zero", justoneapitest.Body(429, "text/plain", ""), "0", 0},
			{"negative", justoneapitest.Body(429, "text/plain", ""), "-5", 0},
			{"garbage", justoneapitest.Body(429, "text/plain", ""), "soon", 0},
			{"fraction", justoneapitest.Body(429, "text/plain", ""), "1.5", 0},
			{"hours", justoneapitest.Body(429, "text/plain", ""), "7200", 60 * minute},
			{"ages", justoneapitest.Body(429, "text/plain", ""), "18446744073709551615", 60 * minute},
			{"beyond 64 bits", justoneapitest.Body(429, "text/plain", ""), "99999999999999999999", 60 * minute},
			{"a date next year", justoneapitest.Body(429, "text/plain", ""), in(365 * 24 * time.Hour), 60 * minute},
		} {
			server := justoneapitest.NewPipeServer()
			if server.SetAll(test.response); test.value != "" {
				server.SetAll(justoneapitest.RetryAfter(test.value, test.response))
			}
			_, err := newClient(t, server).RelationStat(t.Context(), token, wmid)
			var failure *justoneapi.Error
			if !errors.As(err, &failure) || failure.RetryAfter != test.want {
				t.Errorf("%s: got %+v, want %v", test.name, failure, test.want)
			}
			server.Close()
		}
	})
}
