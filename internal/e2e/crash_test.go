//go:build crash

package e2e

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var rounds = flag.Int("rounds", 20, "how often the exporter is killed")

// diary is a stand-in API that notes when it is asked about whom. Followers
// grow with each call, so that an older value is a smaller one.
type diary struct {
	*httptest.Server

	mu    sync.Mutex // protects the following fields
	asked map[int64][]time.Time
	total int
}

func newDiary(t *testing.T) *diary {
	d := &diary{asked: make(map[int64][]time.Time)}
	api := justoneapitest.NewAPI()
	start := time.Now()
	api.SetAll(justoneapitest.Stat(func(now time.Time) int64 { return int64(now.Sub(start)) }, 1))
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wmid, err := strconv.ParseInt(r.URL.Query().Get("wmid"), 10, 64)
		if err != nil {
			t.Error(err)
		}
		d.mu.Lock()
		d.asked[wmid] = append(d.asked[wmid], time.Now())
		d.total++
		d.mu.Unlock()
		time.Sleep(rand.N(60 * time.Millisecond))
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *diary) requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}

// noonZone returns a time zone in which it is about noon, so that no quota day
// ends under the test.
func noonZone() string {
	return fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12)
}

// killing is a series of kills of exporters that share a store.
type killing struct {
	t     *testing.T
	api   *diary
	file  string
	store string
	shown map[string]float64 // samples seen before a kill
}

func newKilling(t *testing.T, quota string, users int) *killing {
	api := newDiary(t)
	config := "api: {base_url: '" + api.URL + "', token: " + justoneapitest.Token + ", max_requests_per_second: 60, max_concurrency: 8}\n" +
		"quota: {" + quota + ", time_zone: " + noonZone() + "}\nusers:\n"
	for wmid := range users {
		config += fmt.Sprintf("  - %d\n", wmid+1)
	}
	return &killing{t: t, api: api, file: exportertest.WriteFile(t, "b.yml", config), store: t.TempDir(), shown: make(map[string]float64)}
}

// sample matches what must survive: values, and when they were obtained.
var sample = regexp.MustCompile(`(?m)^(bilibili_followers|bilibili_last_success_timestamp_seconds)(\{wmid="\d+"\}) (\S+)$`)

// round starts the exporter, scrapes it, and kills it at a random moment.
func (k *killing) round() {
	k.t.Helper()
	p, address := exportertest.StartExporter(k.t, "--config.file="+k.file, "--storage.path="+k.store)
	after := time.After(rand.N(700 * time.Millisecond))
	lost := make(map[string]float64)
	for {
		body, ok := peek("http://" + address + "/metrics")
		if ok {
			now := make(map[string]float64)
			for _, groups := range sample.FindAllStringSubmatch(body, -1) {
				value, err := strconv.ParseFloat(groups[3], 64)
				if err != nil {
					k.t.Fatal(err)
				}
				now[groups[1]+groups[2]] = value
			}
			for series, was := range k.shown {
				if now[series] < was {
					lost[series] = was
				}
			}
			maps.Copy(k.shown, now)
		}
		select {
		case <-after:
			if len(lost) > 0 {
				k.t.Errorf("lost %v", lost)
			}
			p.End(syscall.SIGKILL)
			return
		default:
		}
	}
}

// peek is like get, for a server that may be killed meanwhile.
func peek(url string) (string, bool) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", false
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(0.01+rand.Float64()/2, 'f', 3, 64))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	var body strings.Builder
	_, err = bufio.NewReader(resp.Body).WriteTo(&body)
	return body.String(), err == nil && resp.StatusCode == http.StatusOK
}

// TestKills kills the exporter at random moments while it is scraped: the
// stand-in's own diary shows no call within an interval, and none over budget,
// and no value that was shown is lost.
func TestKills(t *testing.T) {
	// Requests are on their way for different times; one that is repeated after
	// a kill would come within a fraction of a second.
	const interval, jitter = 3 * time.Second, time.Second
	paced := newKilling(t, "min_interval: 3s", 25)
	for range *rounds {
		paced.round()
	}
	shortest := time.Hour
	for wmid, times := range paced.api.asked {
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			shortest = min(shortest, gap)
			if gap < interval-jitter {
				t.Errorf("user %d was asked about after %v", wmid, gap)
			}
		}
	}
	t.Logf("%d kills, %d requests: the shortest time between two calls for one user was %v, the interval is %v", *rounds, paced.api.requests(), shortest, interval)

	const limit = 60
	kills, series, most := 0, 0, 0
	for kills < *rounds {
		series++
		budget := newKilling(t, fmt.Sprintf("min_interval: 1s, daily_limit: %d", limit), 200)
		for range min(*rounds-kills, 10) {
			budget.round()
			kills++
		}
		got := budget.api.requests()
		most = max(most, got)
		if got > limit {
			t.Errorf("%d requests with a budget of %d", got, limit)
		}
	}
	t.Logf("%d kills in %d series: at most %d requests with a budget of %d", kills, series, most, limit)
	if most < limit*3/4 {
		t.Error("the budget was never nearly used up: the test proves nothing")
	}
}

// TestSyncBeforeRequest watches the system calls: when a request is written, the
// record of its call has been written, and all that was written is synced.
func TestSyncBeforeRequest(t *testing.T) {
	api := newDiary(t)
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+"}\nquota: {min_interval: 1s}\nusers: [1]\n")
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exportertest.Command("--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir(), "--config.file="+file)
	cmd.Args = append([]string{"strace", "-D", "-f", "-s", "100000", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", trace}, cmd.Args...)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: make crash installs it", err)
	}
	cmd.Path = strace
	p := exportertest.Start(t, cmd)
	address := p.Await(`msg="Listening on" address=(\S+)`)
	for api.requests() < 5 {
		exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
		time.Sleep(50 * time.Millisecond)
	}
	p.End(syscall.SIGTERM)

	content, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	var requests, unsynced int
	var recorded bool
	for line := range strings.Lines(string(content)) {
		switch {
		case strings.Contains(line, "pwrite64("):
			unsynced++
			recorded = recorded || strings.Contains(line, `user/1`) && strings.Contains(line, `\"running\":true`)
		case strings.Contains(line, "fdatasync(") && strings.Contains(line, "= 0"), strings.Contains(line, "fdatasync resumed") && strings.Contains(line, "= 0"):
			unsynced = 0
		case strings.Contains(line, "write(") && strings.Contains(line, `"GET /api/bilibili/`):
			requests++
			if !recorded || unsynced > 0 {
				t.Errorf("request %d: recorded %v, %d writes not synced", requests, recorded, unsynced)
			}
			recorded = false
		}
	}
	if requests < 5 {
		t.Errorf("saw %d requests in the trace, want 5", requests)
	}
	t.Logf("%d requests, each after its record was synced", requests)
}

// TestFullDisk fills the disk under a running exporter, and empties it again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatalf("mounting a small tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	api := newDiary(t)
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", max_requests_per_second: 1000}\nquota: {min_interval: 1s}\n"+
		"users: ["+users(300)+"]\n")
	args := []string{"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data")}
	p, address := exportertest.StartExporter(t, args...)
	scrape := func() string {
		time.Sleep(1100 * time.Millisecond)
		return exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	}
	failures := func(body string) string {
		return regexp.MustCompile(`bilibili_storage_errors_total\{operation="write"\} (\d+)`).FindStringSubmatch(body)[1]
	}
	if body := scrape(); failures(body) != "0" || strings.Count(body, "\nbilibili_followers{") != 300 {
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
	if strings.Count(body, "\nbilibili_followers{") != 300 || api.requests() < requests+300 {
		t.Errorf("with a full disk, the exporter does not go on from memory")
	}
	if !strings.Contains(p.Log(), "no space left on device") {
		t.Error("the log does not say why")
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	before := failures(scrape())
	if after := failures(scrape()); after != before {
		t.Errorf("with room again, there were %s failures, then %s", before, after)
	}
	p.End(syscall.SIGKILL)
	p, address = exportertest.StartExporter(t, args...)
	if strings.Contains(p.Log(), "damaged") {
		t.Error("the store is damaged")
	}
	if body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics"); strings.Count(body, "\nbilibili_followers{") != 300 {
		t.Error("values are lost")
	}
}

func users(n int) string {
	var list []string
	for wmid := range n {
		list = append(list, strconv.Itoa(wmid+1))
	}
	return strings.Join(list, ", ")
}
