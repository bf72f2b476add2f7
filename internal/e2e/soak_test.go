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

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var soakTime = flag.Duration("soak", 20*time.Second, "how long the exporter is soaked")

const (
	soakUsers     = 1000
	soakScrapers  = 20
	soakSlots     = 10 // of the exporter, for scrapes: now and then none is free
	soakInterval  = 4 * time.Second
	soakRetry     = 3 * time.Second
	soakJitter    = 2 * time.Second  // records and requests are on their way for different times
	soakTimeout   = 3 * time.Second  // of a scrape
	soakHang      = 10 * time.Second // of a call
	soakAllowance = 4 * time.Second  // after a scrape's deadline; who waits for a call that hangs is later
)

// tooMany is the answer to a scrape that finds no slot.
var tooMany = fmt.Sprintf("Too many requests at a time (--web.max-requests=%d), try again later.\n", soakSlots)

// figures are what can leak, and how far above its level a figure may stay. A
// level is the least of many readings: noise does not raise that, a leak does.
var figures = []struct {
	name        string
	ratio, more float64
}{
	{"go_goroutines", 1, 2},
	{"process_open_fds", 1, 2},
	{"go_memstats_heap_alloc_bytes", 1, 1 << 20},     // least after a collection; in 3 min, 1 MiB is some 12 bytes a call
	{"process_resident_memory_bytes", 1.5, 10 << 20}, // Go gives memory back when it likes
}

// readings are a value for each of the figures.
type readings []float64

// merge makes each value the choice of it and the other one.
func (r readings) merge(other readings, choice func(a, b float64) float64) readings {
	for i := range r {
		other[i] = choice(r[i], other[i])
	}
	return other
}

// areAt reports whether no value is above its level; without a level none is.
func (r readings) areAt(level readings) bool {
	for i := range level {
		if r[i] > level[i]*figures[i].ratio+figures[i].more {
			return false
		}
	}
	return true
}

// soak is an exporter between bad scrapers and a bad API.
type soak struct {
	*exportertest.Process
	url    string
	client *http.Client
	api    *justoneapitest.Server
	faults []justoneapitest.Fault

	mu       sync.Mutex // protects the following fields
	due      map[int64]time.Time
	earliest time.Duration // of the requests, after their users were due
	latest   time.Duration // of the pages, after their deadlines
	pages    map[string]int
	peak     readings

	lag time.Duration // of the machine: the most that it added to a short pause
}

func startSoak(t *testing.T) *soak {
	s := &soak{
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, api: justoneapitest.NewServer(),
		due: make(map[int64]time.Time), earliest: time.Hour, latest: -time.Hour, pages: make(map[string]int),
	}
	t.Cleanup(s.api.Close)
	// A refusal of the account pauses all calls for half a minute at least: nothing would happen.
	account := []string{"100", "302", "303", "600", "601", "602"}
	s.faults = slices.DeleteFunc(justoneapitest.Faults(), func(f justoneapitest.Fault) bool { return slices.Contains(account, f.Code) })
	file := fmt.Sprintf("api: {base_url: '%s', token: %s, timeout: %v, max_concurrency: 32, max_requests_per_second: 2000}\n"+
		"quota: {min_interval: %v, retry_interval: %v}\nusers:\n", s.api.URL, justoneapitest.Token, soakHang, soakInterval, soakRetry)
	for wmid := range soakUsers {
		file += fmt.Sprintf("  - %d\n", wmid+1)
	}
	var address string
	s.Process, address = exportertest.StartExporter(t, "--config.file="+exportertest.WriteFile(t, "b.yml", file), fmt.Sprintf("--web.max-requests=%d", soakSlots))
	s.url = "http://" + address
	return s
}

// watched is an answer that notes when its user was due, and is due again after
// an interval.
func (s *soak) watched(answer justoneapitest.Response, interval time.Duration) justoneapitest.Response {
	return func(x *justoneapitest.Exchange) {
		s.mu.Lock()
		now := time.Now()
		if due, ok := s.due[x.WMID]; ok {
			s.earliest = min(s.earliest, now.Sub(due))
		}
		s.due[x.WMID] = now.Add(interval)
		s.mu.Unlock()
		answer(x)
	}
}

// changeFaults makes some users fail, and three times as many work.
func (s *soak) changeFaults() {
	for range soakUsers / 20 {
		answer, interval := exportertest.Steady, soakInterval
		if rand.IntN(4) == 0 {
			fault := s.faults[rand.IntN(len(s.faults))]
			answer = fault.Answer
			if fault.Code == "301" || fault.Code == "500" { // certainly not billed
				interval = soakRetry
			}
		}
		s.api.Set(1+rand.Int64N(soakUsers), s.watched(answer, interval))
	}
}

// load makes the scrapers scrape and the API fail for a while.
func (s *soak) load(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var scrapers sync.WaitGroup
	for range soakScrapers {
		scrapers.Go(func() {
			for ctx.Err() == nil {
				s.visit()
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
		begin := time.Now()
		time.Sleep(pause)
		s.lag = max(s.lag, time.Since(begin)-pause)
	}
	scrapers.Wait()
	s.client.CloseIdleConnections()
}

// visit is one of the things that scrapers do.
func (s *soak) visit() {
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

// ask asks for a page.
func (s *soak) ask(ctx context.Context, path string, timeout time.Duration) (*http.Response, error) {
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

// hangUp leaves when it has waited for long enough, or read enough.
func (s *soak) hangUp(patience time.Duration, enough int64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if resp, err := s.ask(ctx, "/metrics", soakTimeout); err == nil {
		io.CopyN(io.Discard, resp.Body, enough) //nolint:errcheck // it leaves anyway
		resp.Body.Close()
	}
}

// stall asks for more than the buffers on the way hold, reads nothing, and
// leaves after a while.
func (s *soak) stall(d time.Duration) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.T.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n\r\n", 12))
	time.Sleep(d)
}

// read reads a page to its end, after a pause. The text is empty if the page is
// not to be had, as /metrics may be for now.
func (s *soak) read(path string, timeout, pause time.Duration) string {
	begin := time.Now()
	resp, err := s.ask(context.Background(), path, timeout)
	if err != nil {
		s.T.Error(err)
		return ""
	}
	defer resp.Body.Close()
	time.Sleep(pause)
	content, err := io.ReadAll(resp.Body)
	body, late := string(content), time.Since(begin)-timeout-pause

	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path+" "+resp.Status]++
	s.latest = max(s.latest, late)
	if path == "/metrics" && resp.StatusCode == http.StatusServiceUnavailable && body == tooMany {
		return ""
	}
	if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(body, justoneapitest.Token) {
		s.T.Errorf("%s: got status %d, %v, or the token in\n%s", path, resp.StatusCode, err, body)
		return ""
	}
	return body
}

// scrape reads the metrics, which never lose a value.
func (s *soak) scrape(timeout, pause time.Duration) {
	body := s.read("/metrics", timeout, pause)
	if body == "" {
		return
	}
	if got := strings.Count(body, "\nbilibili_followers{"); got != soakUsers {
		s.T.Errorf("got %d values, want %d, in\n%s", got, soakUsers, body)
	}
	now := s.readingsOf(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = s.peak.merge(now, math.Max)
}

func (s *soak) readingsOf(body string) (r readings) {
	for _, f := range figures {
		r = append(r, s.number(body, f.name))
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

// working matches a user whose last call gave a value.
var working = regexp.MustCompile(`(?m)^bilibili_up\{.* 1$`)

// calm makes the API work, and waits until all users do, no call runs, the
// exporter has counted all requests, and the figures are at the level. It
// returns the level that they have reached.
func (s *soak) calm(level readings) (lowest readings) {
	s.T.Helper()
	s.api.SetAll(s.watched(exportertest.Steady, soakInterval))
	state := "no scrape is answered"
	for n, begin := 0, time.Now(); time.Since(begin) < 3*time.Minute; time.Sleep(50 * time.Millisecond) {
		body := s.read("/metrics", soakTimeout, 0)
		if body == "" {
			continue
		}
		users, running := len(working.FindAllString(body, -1)), s.number(body, "bilibili_api_requests_in_flight")
		counted, requests := s.number(body, "bilibili_api_requests_total"), s.api.Total().Requests
		state = fmt.Sprintf("%d users work, %v calls run, %v of %d requests are counted", users, running, counted, requests)
		if users < soakUsers || running > 0 || int(counted) != requests {
			continue
		}
		lowest = lowest.merge(s.readingsOf(body), math.Min)
		if n++; n >= 20 && lowest.areAt(level) {
			return lowest
		}
	}
	s.T.Fatalf("no calm: %s; the level is %.0f, and was %.0f", state, lowest, level)
	return nil
}

// TestSoak wears the exporter out: every scrape is answered in time, nobody is
// asked about too early, and when all is calm again, nothing is left behind.
func TestSoak(t *testing.T) {
	s := startSoak(t)
	s.calm(nil)
	s.load(5 * time.Second) // pools and buffers find their size
	before := s.calm(nil)
	s.peak = nil
	s.load(*soakTime)
	after := s.calm(before)
	t.Logf("%-30s %12s %12s %12s", "", "before", "peak", "after")
	for i, f := range figures {
		t.Logf("%-30s %12.0f %12.0f %12.0f", f.name, before[i], s.peak[i], after[i])
	}
	t.Logf("%d requests, the earliest %v after its user was due; %v, the latest %v after its deadline; the machine lagged by %v",
		s.api.Total().Requests, s.earliest, s.pages, s.latest, s.lag)
	if s.earliest < -soakJitter-s.lag || s.latest > soakAllowance+s.lag {
		t.Error("a user was asked about too early, or a page came too late")
	}
	if status, _ := s.End(syscall.SIGTERM); status != 0 || strings.Contains(s.Log(), justoneapitest.Token) || strings.Contains(s.Log(), "panic") {
		t.Errorf("got status %d, want 0; or the log shows the token or a panic", status)
	}
}
