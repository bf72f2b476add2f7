//go:build crash

package e2e

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var rounds = flag.Int("rounds", 20, "number of times that the exporter is killed")

// killTest kills exporters that use the same storage one after another. One in four responses is not billed.
type killTest struct {
	t       *testing.T
	api     *recorder
	config  string
	storage string
	zone    string
	exposed map[string]float64 // the highest value of every sample so far
	surplus int                // requests charged that the vendor does not count, because kills lose refunds
}

func newKillTest(t *testing.T, quotaKeys string, users int) *killTest {
	t.Helper()
	api, zone := newRecorder(t), noonZone()
	api.unbilledEvery = 4
	const apiKeys = "max_requests_per_second: 60, max_concurrency: 8, balance_interval: 3s"
	return &killTest{
		t: t, api: api, config: api.writeConfig(t, apiKeys, quotaKeys+", time_zone: "+zone, users),
		storage: t.TempDir(), zone: zone, exposed: make(map[string]float64),
	}
}

// round starts the exporter, scrapes it, and kills it at a random moment. One in five is killed while it starts.
func (k *killTest) round() {
	k.t.Helper()
	args := []string{"--config.file=" + k.config, "--storage.path=" + k.storage}
	if rand.IntN(5) == 0 {
		p := exportertest.Start(k.t, exportertest.Command(append(args, "--web.listen-address=127.0.0.1:0")...))
		time.Sleep(rand.N(100 * time.Millisecond))
		p.End(syscall.SIGKILL)
	} else {
		p, address := exportertest.StartExporter(k.t, args...)
		for end := time.Now().Add(rand.N(700 * time.Millisecond)); ; {
			if body, ok := k.scrape("http://" + address + "/metrics"); ok {
				k.check(body)
			}
			if time.Now().After(end) {
				p.End(syscall.SIGKILL)
				break
			}
		}
	}
	k.checkCharged()
}

// checkCharged checks that every request that the vendor counts is charged to the budget that the next process will
// find, and that no kill has refunded a request twice: the surplus never shrinks.
func (k *killTest) checkCharged() {
	k.t.Helper()
	k.api.awaitIdle()
	_, counted := k.api.count()
	s, contents, err := store.Open(store.Config{Dir: k.storage, OnError: func(operation string, err error) {
		k.t.Errorf("%s: %v", operation, err)
	}, OnRecovery: func() {}})
	if err != nil {
		k.t.Fatal(err)
	}
	s.Close(k.t.Context())
	zone, err := time.LoadLocation(k.zone)
	if err != nil {
		k.t.Fatal(err)
	}
	limits := quota.Limits{RetryInterval: time.Minute, Zone: zone}
	used := quota.New(quota.Config{Limits: limits, Records: contents.Records}).Account().Used
	if used-counted < k.surplus {
		k.t.Errorf("%d requests are charged, and the vendor counts %d: the surplus was %d before", used, counted, k.surplus)
	}
	k.surplus = used - counted
}

// scrape scrapes with a random timeout. It reports whether it got the whole response.
func (k *killTest) scrape(url string) (string, bool) {
	k.t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	timeout := strconv.FormatFloat(0.01+rand.Float64()/2, 'f', 3, 64)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err == nil && resp.StatusCode == http.StatusOK
}

// persistent matches the samples that survive a kill: values and their times.
var persistent = regexp.MustCompile(
	`(?m)^(bilibili_followers|bilibili_last_success_timestamp_seconds)(\{wmid="\d+"\}) (\S+)$`)

// commitTime is how long it may take to record a response. A kill before that loses it, even if it was exposed already.
const commitTime = 500 * time.Millisecond

// check checks that no sample is missing or older than before.
func (k *killTest) check(body string) {
	k.t.Helper()
	samples := make(map[string]float64)
	for _, groups := range persistent.FindAllStringSubmatch(body, -1) {
		value, err := strconv.ParseFloat(groups[3], 64)
		if err != nil {
			k.t.Fatal(err)
		}
		samples[groups[1]+groups[2]] = value
	}
	for series, before := range k.exposed {
		if samples[series] < before {
			k.t.Errorf("%s is %v, and was %v before", series, samples[series], before)
		}
	}
	recorded := float64(time.Now().Add(-commitTime).UnixMilli()) / 1000
	for series, value := range samples {
		if samples["bilibili_last_success_timestamp_seconds"+series[strings.IndexByte(series, '{'):]] < recorded {
			k.exposed[series] = max(k.exposed[series], value)
		}
	}
}

// TestKills kills the exporter at random moments while it is scraped. The API receives no request within an interval,
// and counts none over the budget, and no value that was exposed is lost.
func TestKills(t *testing.T) {
	// The time from the decision to the request at the API varies. A request that is repeated after a kill would arrive
	// within a fraction of a second.
	const interval, retry, jitter = 3 * time.Second, 2 * time.Second, time.Second
	paced := newKillTest(t, "min_interval: 3s, retry_interval: 2s", 25)
	for range *rounds {
		paced.round()
	}
	shortest, shortestRetry := shortestGap(paced.api.balances)
	if shortest < interval-jitter {
		t.Errorf("the balance was requested again after %v", shortest)
	}
	for wmid, arrivals := range paced.api.arrivals {
		billed, unbilled := shortestGap(arrivals)
		if billed < interval-jitter || unbilled < retry-jitter {
			t.Errorf("user %d was requested again after %v, or after %v if not billed", wmid, billed, unbilled)
		}
		shortest, shortestRetry = min(shortest, billed), min(shortestRetry, unbilled)
	}
	all, counted := paced.api.count()
	t.Logf("%d kills, %d requests for users, of which the vendor counts %d and %d are charged, and %d for the balance",
		*rounds, all, counted, counted+paced.surplus, len(paced.api.balances))
	t.Logf("the shortest time between two requests was %v, the interval is %v; if not billed %v, the interval is %v",
		shortest, interval, shortestRetry, retry)

	const limit = 60
	kills, series, most, mostRequests := 0, 0, 0, 0
	for kills < *rounds {
		series++
		limited := newKillTest(t, fmt.Sprintf("min_interval: 1s, retry_interval: 1s, daily_limit: %d", limit), 200)
		for range min(*rounds-kills, 10) {
			limited.round()
			kills++
		}
		all, counted := limited.api.count()
		most, mostRequests = max(most, counted), max(mostRequests, all)
		if counted > limit {
			t.Errorf("the vendor counts %d requests, with a budget of %d", counted, limit)
		}
	}
	t.Logf("%d kills in %d series: the vendor counts at most %d of %d requests, the budget is %d",
		kills, series, most, mostRequests, limit)
	if most < limit*3/4 || mostRequests <= limit {
		t.Error("the budget was never nearly used up, or nothing was refunded, so the test proves nothing")
	}
}

// TestSyncBeforeRequest traces the system calls: when a request is written, its record has been written, and everything
// that was written has been synced.
func TestSyncBeforeRequest(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: make crash installs it", err)
	}
	api := newRecorder(t)
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exportertest.Command("--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir(),
		"--config.file="+api.writeConfig(t, "", "min_interval: 1s", 1))
	cmd.Path = strace
	cmd.Args = append([]string{
		"strace", "-D", "-f", "-s", "100000", "-e", "trace=pwrite64,ftruncate,fdatasync,fsync,write", "-o", trace,
	}, cmd.Args...)
	p := exportertest.Start(t, cmd)
	address := p.Address()
	for api.requests() < 5 {
		exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
		time.Sleep(50 * time.Millisecond)
	}
	p.End(syscall.SIGTERM)

	var requests int
	var recorded bool
	unsynced := make(map[string]bool)  // file descriptors that were written to
	syncing := make(map[string]string) // those that are being synced, by thread
	call := regexp.MustCompile(`^(\d+) +(\w+)\((\d+)`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. f(?:data)?sync resumed>.* = 0`)
	for line := range strings.Lines(exportertest.ReadFile(t, trace)) {
		if thread := resumed.FindStringSubmatch(line); thread != nil {
			delete(unsynced, syncing[thread[1]])
		}
		match := call.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		switch thread, name, file := match[1], match[2], match[3]; {
		case name == "pwrite64" || name == "ftruncate":
			unsynced[file] = true
			recorded = recorded || strings.Contains(line, `user/1`) && strings.Contains(line, `\"in_flight\":true`)
		case name != "write" && strings.Contains(line, "= 0"):
			delete(unsynced, file)
		case name != "write":
			syncing[thread] = file
		case strings.Contains(line, `"GET /api/bilibili/`):
			requests++
			if !recorded || len(unsynced) > 0 {
				t.Errorf("request %d: recorded: %v; files not synced: %v", requests, recorded, unsynced)
			}
			recorded = false
		}
	}
	if requests < 5 {
		t.Errorf("got %d requests in the trace, want 5", requests)
	}
	t.Logf("%d requests, each after its record was synced", requests)
}

// TestFullDisk fills the disk of a running exporter, and frees it again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatalf("mounting a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	api := newRecorder(t)
	config := api.writeConfig(t, "max_requests_per_second: 1000", "min_interval: 1s", 300)
	args := []string{"--config.file=" + config, "--storage.path=" + filepath.Join(dir, "data")}
	p, address := exportertest.StartExporter(t, args...)
	patient := &http.Client{Transport: exportertest.ScrapeTransport(time.Minute)}
	scrape := func() string {
		time.Sleep(1100 * time.Millisecond)
		return exportertest.Get(t, patient, "http://"+address+"/metrics")
	}
	values := func(body string) int { return strings.Count(body, "\nbilibili_followers{") }
	failures := func(body string) string {
		return regexp.MustCompile(`bilibili_storage_errors_total\{operation="write"\} (\d+)`).FindStringSubmatch(body)[1]
	}
	if body := scrape(); failures(body) != "0" || values(body) != 300 {
		t.Errorf("before: want 300 values and no failure:\n%s", body)
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	requests := api.requests()
	scrape()
	body := scrape()
	if failures(body) == "0" {
		t.Error("no write failed")
	}
	if values(body) != 300 || api.requests() < requests+300 {
		t.Error("with a full disk, the exporter does not continue from memory")
	}
	if !strings.Contains(p.Log(), "database or disk is full") {
		t.Error("the log does not contain the reason")
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	before := failures(scrape())
	if after := failures(scrape()); after != before {
		t.Errorf("after the disk was freed, there were %s failures, then %s", before, after)
	}
	p.End(syscall.SIGKILL)
	p, address = exportertest.StartExporter(t, args...)
	if strings.Contains(p.Log(), "damaged") {
		t.Error("the store is damaged")
	}
	if body := exportertest.Get(t, patient, "http://"+address+"/metrics"); values(body) != 300 {
		t.Error("values are lost")
	}
}
