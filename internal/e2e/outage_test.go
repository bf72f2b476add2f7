//go:build e2e

package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// outage is a response to all requests that pauses them.
type outage struct {
	response justoneapitest.Response
	code     string // label value of upstream_error_code
	reason   quota.Reason
	pause    time.Duration // its length
}

func outages() map[string]outage {
	const (
		message = "token=" + justoneapitest.Token
		long    = 75 * time.Second // longer than the first pause of an outage
		short   = 45 * time.Second // … and of a rate limit
	)
	plain := func(status int) justoneapitest.Response { return justoneapitest.Body(status, "text/plain", message) }
	inSeconds := func(wait time.Duration, response justoneapitest.Response) justoneapitest.Response {
		return justoneapitest.RetryAfter(strconv.Itoa(int(wait.Seconds())), response)
	}
	asDate := func(wait time.Duration, response justoneapitest.Response) justoneapitest.Response {
		return func(x *justoneapitest.Exchange) {
			date := time.Now().Add(wait).UTC().Format(http.TimeFormat)
			justoneapitest.RetryAfter(date, response)(x)
		}
	}
	const minute, down, limited = time.Minute, quota.ReasonOutage, quota.ReasonRateLimit
	return map[string]outage{
		"API hangs":          {justoneapitest.Hang(), justoneapi.CodeTimeout, down, minute},
		"gateway fails":      {plain(502), "http_502", down, minute},
		"Bilibili fails":     {justoneapitest.BilibiliCode(-503, message), "-503", down, minute},
		"another format":     {justoneapitest.Data(`{"code":0,"data":{}}`), justoneapi.CodeMalformed, down, minute},
		"503, seconds":       {inSeconds(long, plain(503)), "http_503", down, long},
		"503, date":          {asDate(long, plain(503)), "http_503", down, long},
		"429, seconds":       {inSeconds(short, plain(429)), "http_429", limited, short},
		"429, date":          {asDate(short, plain(429)), "http_429", limited, short},
		"code 302, seconds":  {inSeconds(short, justoneapitest.StatusCode(429, 302, message)), "302", limited, short},
		"429, past and date": {asDate(-time.Hour, plain(429)), "http_429", limited, 30 * time.Second},
	}
}

// testOutage lets all requests fail until they pause. During the pause the API receives no request, and recovers. After
// it exactly one request probes, then all users are requested.
func testOutage(t *testing.T, o outage) {
	const probeTime = 500 * time.Millisecond
	var (
		mu       sync.Mutex // protects the following field
		arrivals []time.Time
	)
	arrived := func(response justoneapitest.Response) justoneapitest.Response {
		return func(x *justoneapitest.Exchange) {
			mu.Lock()
			arrivals = append(arrivals, time.Now())
			mu.Unlock()
			response(x)
		}
	}
	since := func(n int) []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return arrivals[n:]
	}
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	var users []*user
	for wmid := range int64(8) {
		u := &user{wmid: 1000 + wmid, fault: justoneapitest.Fault{Code: o.code}}
		api.Set(u.wmid, u.succeed)
		users = append(users, u)
	}
	test := newFaultTest(t, exportertest.StartExporter, "base_url: '"+api.URL+"', max_concurrency: 16", users...)
	test.awaitStart()

	api.SetAll(arrived(o.response))
	paused := `bilibili_api_paused{reason="` + string(o.reason) + `"}`
	got := test.scrapeUntil(30*time.Second, func(got samples) bool {
		return got[paused] == 1 && got["bilibili_api_requests_in_flight"] == 0
	})
	failed := len(since(0))
	if got[paused] != 1 || failed > 2*len(users) {
		t.Fatalf("%s is %v after %d failures", paused, got[paused], failed)
	}
	resume := time.UnixMilli(int64(1000 * got["bilibili_api_resume_timestamp_seconds"]))
	began := since(0)[0]
	if o.code == justoneapi.CodeTimeout {
		began = began.Add(apiTimeout)
	}
	if length := resume.Sub(began); length < o.pause-2*time.Second || length > o.pause+3*time.Second {
		t.Errorf("the pause lasts %v, want %v", length, o.pause)
	}
	if page := test.get(http.DefaultClient, "/"); !strings.Contains(page, "Requests are paused") {
		t.Error("the status page does not say that requests are paused")
	}

	for wmid := range int64(8) {
		api.Set(1000+wmid, arrived(justoneapitest.Latency(probeTime, users[wmid].succeed)))
	}
	after := test.scrapeUntil(time.Until(resume)+15*time.Second, func(got samples) bool {
		return test.all(func(u *user) bool { return got[u.series("bilibili_up")] == 1 })
	})
	requests := since(failed)
	if len(requests) < len(users) || after[paused] != 0 {
		t.Fatalf("no recovery: got %d requests, and %s is %v", len(requests), paused, after[paused])
	}
	if early := resume.Sub(requests[0]); early > 100*time.Millisecond {
		t.Errorf("the API received a request %v before the pause ended", early)
	}
	if gap := requests[1].Sub(requests[0]); gap < probeTime {
		t.Errorf("a second request followed the probe after %v", gap)
	}
	if failures := after.failures(); len(failures) != 1 || failures[o.code] != failed {
		t.Errorf("upstream_error_code counts %v, want %d of code %s", failures, failed, o.code)
	}
	test.end()
	test.checkLog(t, 1, `msg="Requests paused"`)
	test.checkLog(t, 1, "level=warn", `msg="Requests paused"`, " reason="+string(o.reason), "err=", o.code, " advice=",
		" next_probe=20")
	test.checkLog(t, 1, "level=info", `msg="Resuming API requests"`, "paused_for="+string(o.reason))
}
