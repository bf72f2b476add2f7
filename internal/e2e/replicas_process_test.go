//go:build replicas

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// replica is an exporter that is killed, frozen and started again.
type replica struct {
	t       *testing.T
	command []string // arguments
	env     []string
	proxy   *dbProxy // in front of the database

	// The goroutine of the test uses the following fields.
	restart time.Time             // when it will be started if it is not running
	process *exportertest.Process // nil if it is not running
	frozen  time.Time             // when it was frozen; zero if it is not
	ending  syscall.Signal        // that was sent to end it; 0 if none was

	mu      sync.Mutex // protects the following fields
	address string     // empty until it listens
	changes int        // how often it was started, frozen, woken up or ended
	calm    bool       // whether it has to respond
}

// change changes what scrapers have to expect.
func (r *replica) change(address string, calm bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.address, r.calm = address, calm
	r.changes++
}

// look returns what scrapers have to expect.
func (r *replica) look() (address string, changes int, calm bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.address, r.changes, r.calm
}

var listening = regexp.MustCompile(`msg="?Listening on"? address=(\S+)`)

// tend starts the replica again when it has exited, as a service manager does, and notices when it listens.
func (r *replica) tend() {
	if r.process == nil {
		if time.Now().After(r.restart) {
			cmd := exportertest.Command(r.command...)
			cmd.Env = r.env
			r.process = exportertest.Start(r.t, cmd)
		}
		return
	}
	address, _, _ := r.look()
	if status, exited := r.process.Exited(); exited {
		r.checkExit(status, address != "")
		r.change("", false)
		r.process, r.frozen, r.ending, r.restart = nil, time.Time{}, 0, time.Now().Add(time.Second)
		return
	}
	if match := listening.FindStringSubmatch(r.process.Log()); address == "" && match != nil && r.ending == 0 {
		r.change(match[1], r.frozen.IsZero())
	}
}

// checkExit checks the exit status. Without its database, an exporter cannot start.
func (r *replica) checkExit(status int, listened bool) {
	switch {
	case r.ending == syscall.SIGKILL:
	case r.ending == syscall.SIGTERM && (status == 0 || r.process.Log() == ""): // the process had not begun
	case !listened && status == 1 && strings.Contains(r.process.Log(), "--storage.url"):
	default:
		r.t.Errorf("an exporter exited with status %d:\n%s", status, r.process.Log())
	}
}

// end sends a signal that ends the replica. It reports false if there is nothing to end.
func (r *replica) end(signal syscall.Signal) bool {
	if r.process == nil || r.ending != 0 {
		return false
	}
	r.ending = signal
	return r.signal(signal)
}

// freeze stops the replica until it is thawed. It reports false if that is not possible.
func (r *replica) freeze() bool {
	if r.process == nil || r.ending != 0 || !r.frozen.IsZero() {
		return false
	}
	r.frozen = time.Now()
	return r.signal(syscall.SIGSTOP)
}

// signal sends a signal that disturbs the process. It reports false if the process has exited, which tend will notice.
func (r *replica) signal(signal syscall.Signal) bool {
	address, _, _ := r.look()
	r.change(address, false)
	return r.process.TrySignal(signal)
}

// thaw lets a frozen process continue, unless it has been killed.
func (r *replica) thaw(process *exportertest.Process) {
	if r.process != process || r.ending != 0 {
		return
	}
	r.process.TrySignal(syscall.SIGCONT)
	r.frozen = time.Time{}
	address, _, _ := r.look()
	r.change(address, address != "")
}

// sightings is what scrapers have seen.
type sightings struct {
	mu         sync.Mutex // protects the following fields
	scrapes    int
	longest    time.Duration // of a scrape
	lastActive time.Time     // when an active exporter was seen last
	inactive   time.Duration // longest time in which none was seen
}

// add adds a scrape that has ended.
func (s *sightings) add(took time.Duration, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scrapes++
	s.longest = max(s.longest, took)
	if !active {
		return
	}
	if !s.lastActive.IsZero() {
		s.inactive = max(s.inactive, time.Since(s.lastActive))
	}
	s.lastActive = time.Now()
}

// report reports what was seen. The longest time without an active exporter is far below that of a lease, because the
// test ends leases that cannot be used.
func (s *sightings) report(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inactive > time.Minute {
		t.Errorf("no exporter was active for %v", s.inactive)
	}
	t.Logf("%d scrapes of exporters that were running took at most %v; no exporter was seen active for at most %v",
		s.scrapes, s.longest, s.inactive)
}

// scrapeUntil scrapes the replica every second.
func (r *replica) scrapeUntil(stop <-chan struct{}, timeout time.Duration, seen *sightings, api *recorder) {
	client := &http.Client{Transport: exportertest.ScrapeTransport(timeout), Timeout: timeout + 20*time.Second}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticks.C:
			r.scrape(client, timeout, seen, api)
		}
	}
}

// scrape checks a scrape of the replica, unless the replica is disturbed meanwhile.
func (r *replica) scrape(client *http.Client, timeout time.Duration, seen *sightings, api *recorder) {
	address, changes, calm := r.look()
	if address == "" {
		return
	}
	start := time.Now()
	body, err := get(client, "http://"+address+"/metrics")
	took := time.Since(start)
	if _, now, _ := r.look(); now != changes || !calm {
		return
	}
	if err != nil || took > timeout {
		r.t.Errorf("a scrape with a timeout of %v took %v: %v", timeout, took, err)
		return
	}
	seen.add(took, samplesWith(body, activeMetric)[activeMetric] == 1)
	for series, value := range samplesWith(body, followers) {
		var wmid int64
		if _, err := fmt.Sscanf(series, followers+`{wmid="%d"}`, &wmid); err != nil || !api.sent(wmid, value) {
			r.t.Errorf("%s is %v, which the API has not sent", series, value)
		}
	}
}

// get returns the body of a page.
func get(client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("got status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
