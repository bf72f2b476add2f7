//go:build soak

package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var soakTime = flag.Duration("soak", 20*time.Second, "duration of the load")

const (
	soakUsers     = 1000
	soakScrapers  = 20
	soakSlots     = 10 // concurrent scrapes that the exporter allows: too few now and then
	soakInterval  = 4 * time.Second
	soakRetry     = 3 * time.Second
	soakJitter    = 2 * time.Second  // the time from the decision to the request at the API varies
	soakTimeout   = 3 * time.Second  // of a scrape
	soakHang      = 10 * time.Second // of a request to the API
	soakTolerance = 4 * time.Second  // past a scrape's deadline; a scrape that waited for a hanging request is later
)

// busy is the response to a scrape when all slots are in use.
var busy = fmt.Sprintf("Limit of concurrent requests reached (--web.max-requests=%d), try again later.\n", soakSlots)

// leakMetrics are metrics that a leak increases. After the load, a metric may be at most ratio times its level before
// plus more. A level is the minimum of many readings, which a leak raises but noise does not.
var leakMetrics = []struct {
	name        string
	ratio, more float64
}{
	{"go_goroutines", 1, 2},
	{"process_open_fds", 1, 2},
	{"go_memstats_heap_alloc_bytes", 1, 1 << 20},     // in 3 min, 1 MiB is about 12 bytes per request
	{"process_resident_memory_bytes", 1.5, 10 << 20}, // Go returns memory to the system when it likes
}

// readings are the values of the leakMetrics.
type readings []float64

// merge returns the combination of each value with the value in other.
func (r readings) merge(other readings, combine func(a, b float64) float64) readings {
	for i := range r {
		other[i] = combine(r[i], other[i])
	}
	return other
}

// within reports whether no value has leaked, compared to the levels. Without levels none has.
func (r readings) within(levels readings) bool {
	for i := range levels {
		if r[i] > levels[i]*leakMetrics[i].ratio+leakMetrics[i].more {
			return false
		}
	}
	return true
}

// soak is an exporter between misbehaving scrapers and a failing API.
type soak struct {
	*exportertest.Process
	url    string
	client *http.Client
	api    *justoneapitest.Server
	faults []justoneapitest.Fault

	mu       sync.Mutex // protects the following fields
	due      map[int64]time.Time
	earliest time.Duration // from the time at which a user was due to the request
	latest   time.Duration // from a deadline to the response
	pages    map[string]int
	peak     readings

	lag time.Duration // the most by which the machine prolonged a short sleep
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, api: justoneapitest.NewServer(),
		due: make(map[int64]time.Time), earliest: time.Hour, latest: -time.Hour, pages: make(map[string]int),
	}
	t.Cleanup(s.api.Close)
	// A refused account would pause all requests for at least 30 s, in which nothing would happen.
	s.faults = slices.DeleteFunc(justoneapitest.Faults(), func(f justoneapitest.Fault) bool {
		return exportertest.Explain(f.Code).Scope == justoneapi.ScopeAccount
	})
	text := fmt.Sprintf("api: {base_url: '%s', token: %s, timeout: %v, ", s.api.URL, justoneapitest.Token, soakHang)
	text += "max_concurrency: 32, max_requests_per_second: 2000}\n"
	text += fmt.Sprintf("quota: {min_interval: %v, retry_interval: %v}\nusers:\n", soakInterval, soakRetry)
	for i := range soakUsers {
		text += fmt.Sprintf("  - %d\n", i+1)
	}
	var address string
	s.Process, address = exportertest.StartExporter(t,
		"--config.file="+exportertest.WriteFile(t, "b.yml", text), fmt.Sprintf("--web.max-requests=%d", soakSlots))
	s.url = "http://" + address
	return s
}

// recordDue returns a response that also records how long its user was due, and when it is due again.
func (s *soak) recordDue(response justoneapitest.Response, interval time.Duration) justoneapitest.Response {
	return func(x *justoneapitest.Exchange) {
		s.mu.Lock()
		now := time.Now()
		if due, ok := s.due[x.WMID]; ok {
			s.earliest = min(s.earliest, now.Sub(due))
		}
		s.due[x.WMID] = now.Add(interval)
		s.mu.Unlock()
		response(x)
	}
}

// changeFaults sets the responses of some users: nine in ten succeed, since five failures in a row pause all requests
// until another one succeeds.
func (s *soak) changeFaults() {
	for range soakUsers / 20 {
		response, interval := exportertest.Steady, soakInterval
		if rand.IntN(10) == 0 {
			fault := s.faults[rand.IntN(len(s.faults))]
			response = fault.Response
			if fault.Code == "301" || fault.Code == "500" { // certainly not billed
				interval = soakRetry
			}
		}
		s.api.Set(1+rand.Int64N(soakUsers), s.recordDue(response, interval))
	}
}

// load lets the scrapers scrape and the API fail for a while.
func (s *soak) load(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var scrapers sync.WaitGroup
	for range soakScrapers {
		scrapers.Go(func() {
			for ctx.Err() == nil {
				s.visitRandomly()
				time.Sleep(rand.N(3 * time.Second))
			}
		})
	}
	for ctx.Err() == nil {
		s.changeFaults()
		if rand.IntN(10) == 0 {
			s.Signal(syscall.SIGHUP)
		}
		const pause = 100 * time.Millisecond
		start := time.Now()
		time.Sleep(pause)
		s.lag = max(s.lag, time.Since(start)-pause)
	}
	scrapers.Wait()
	s.client.CloseIdleConnections()
}

// visitRandomly does one of the things that scrapers do.
func (s *soak) visitRandomly() {
	switch rand.IntN(7) {
	case 0:
		s.read("/", soakTimeout, 0)
	case 1:
		s.scrape(soakTimeout, 0)
	case 2:
		s.scrape(soakTimeout, rand.N(soakTimeout))
	case 3:
		s.scrape(50*time.Millisecond+rand.N(time.Second), 0)
	case 4:
		s.hangUp(rand.N(200*time.Millisecond), 0)
	case 5:
		s.hangUp(soakTimeout, rand.Int64N(200_000))
	case 6:
		s.stall(rand.N(6 * time.Second))
	}
}

// get requests a page.
func (s *soak) get(ctx context.Context, path string, timeout time.Duration) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', 3, 64))
	if rand.IntN(2) == 0 {
		req.Header.Set("Accept-Encoding", "identity") // else gzip
	}
	return s.client.Do(req)
}

// hangUp disconnects after a time or after some bytes of the response.
func (s *soak) hangUp(timeout time.Duration, bytes int64) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if resp, err := s.get(ctx, "/metrics", soakTimeout); err == nil {
		io.CopyN(io.Discard, resp.Body, bytes) //nolint:errcheck // it disconnects anyway
		resp.Body.Close()
	}
}

// stall requests more than the buffers of the connection hold, reads nothing, and disconnects after a while.
func (s *soak) stall(d time.Duration) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.T.Error(err)
		return
	}
	defer conn.Close()
	const request = "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n\r\n"
	fmt.Fprint(conn, strings.Repeat(request, 12))
	time.Sleep(d)
}

// read requests a page and reads it to its end after a pause. It returns "" on failure, and when all slots of /metrics
// are in use.
func (s *soak) read(path string, timeout, pause time.Duration) string {
	start := time.Now()
	resp, err := s.get(context.Background(), path, timeout)
	if err != nil {
		s.T.Error(err)
		return ""
	}
	defer resp.Body.Close()
	time.Sleep(pause)
	content, err := io.ReadAll(resp.Body)
	body, late := string(content), time.Since(start)-timeout-pause

	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path+" "+resp.Status]++
	s.latest = max(s.latest, late)
	if path == "/metrics" && resp.StatusCode == http.StatusServiceUnavailable && body == busy {
		return ""
	}
	if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(body, justoneapitest.Token) {
		s.T.Errorf("%s: got status %d, error %v, or the token in\n%s", path, resp.StatusCode, err, body)
		return ""
	}
	return body
}

// scrape reads the metrics and checks that no value is missing.
func (s *soak) scrape(timeout, pause time.Duration) {
	body := s.read("/metrics", timeout, pause)
	if body == "" {
		return
	}
	if got := strings.Count(body, "\nbilibili_followers{"); got != soakUsers {
		s.T.Errorf("got %d values, want %d, in\n%s", got, soakUsers, body)
	}
	now := s.parseReadings(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = s.peak.merge(now, math.Max)
}

// parseReadings returns the values of the leakMetrics in an exposition.
func (s *soak) parseReadings(body string) (r readings) {
	for _, m := range leakMetrics {
		r = append(r, s.number(body, m.name))
	}
	return r
}

// number returns the value of a metric without labels.
func (s *soak) number(body, name string) (value float64) {
	_, rest, _ := strings.Cut(body, "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &value); err != nil {
		s.T.Errorf("%s: %v", name, err)
	}
	return value
}

// working matches a user whose last completed request returned a value.
var working = regexp.MustCompile(`(?m)^bilibili_up\{.* 1$`)

// awaitRecovery lets the API work and waits until all users do, no request is in flight, the exporter has counted all
// requests, and nothing has leaked compared to the levels. It returns the new levels.
func (s *soak) awaitRecovery(levels readings) (lowest readings) {
	s.T.Helper()
	s.api.SetAll(s.recordDue(exportertest.Steady, soakInterval))
	state := "no scrape succeeded"
	n := 0 // scrapes in this state
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		body := s.read("/metrics", soakTimeout, 0)
		if body == "" {
			continue
		}
		users, inFlight := len(working.FindAllString(body, -1)), s.number(body, "bilibili_api_requests_in_flight")
		counted, requests := s.number(body, "bilibili_api_requests_total"), s.api.Total().Requests
		state = fmt.Sprintf("%d users working, %v requests in flight, %v of %d requests counted",
			users, inFlight, counted, requests)
		if users < soakUsers || inFlight > 0 || int(counted) != requests {
			continue
		}
		lowest = lowest.merge(s.parseReadings(body), math.Min)
		if n++; n >= 20 && lowest.within(levels) {
			return lowest
		}
	}
	s.T.Fatalf("no recovery: %s; the levels are %.0f, and were %.0f", state, lowest, levels)
	return nil
}

// TestSoak puts the exporter under load: every scrape gets its response in time, no user is requested too early, and
// nothing has leaked after the recovery.
func TestSoak(t *testing.T) {
	s := startSoak(t)
	s.awaitRecovery(nil)
	s.load(5 * time.Second) // pools and buffers grow to their size
	before := s.awaitRecovery(nil)
	s.peak = nil
	s.load(*soakTime)
	after := s.awaitRecovery(before)
	t.Logf("%-30s %12s %12s %12s", "", "before", "peak", "after")
	for i, m := range leakMetrics {
		t.Logf("%-30s %12.0f %12.0f %12.0f", m.name, before[i], s.peak[i], after[i])
	}
	t.Logf("%d requests, the earliest %v after its user was due", s.api.Total().Requests, s.earliest)
	t.Logf("%v, the latest %v after its deadline; lag of the machine %v", s.pages, s.latest, s.lag)
	if s.earliest < -soakJitter-s.lag || s.latest > soakTolerance+s.lag {
		t.Error("a user was requested too early, or a response came too late")
	}
	status, _ := s.End(syscall.SIGTERM)
	if status != 0 || strings.Contains(s.Log(), justoneapitest.Token) || strings.Contains(s.Log(), "panic") {
		t.Errorf("got exit status %d, want 0; or the log contains the token or a panic", status)
	}
}
