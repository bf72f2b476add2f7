//go:build crash

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// earlyRounds is how often each signal is sent in TestEarlySignals.
const earlyRounds = 50

// TestEarlySignals sends signals at random moments of the first 100 ms. SIGTERM ends in exit status 0, SIGHUP in a
// reload, and neither loses any of the state.
func TestEarlySignals(t *testing.T) {
	// The exporter inherits that SIGHUP is ignored, so that the moment at which it starts to receive signals is visible.
	signal.Ignore(syscall.SIGHUP)
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	const users = 2000
	api := newRecorder(t)
	config := api.writeConfig(t, "max_requests_per_second: 5000, max_concurrency: 200", "min_interval: 1h", users)
	args := []string{"--web.listen-address=127.0.0.1:0", "--storage.path=" + t.TempDir(), "--config.file=" + config}
	checkState := func(p *exportertest.Process) {
		t.Helper()
		client := &http.Client{Transport: exportertest.ScrapeTransport(time.Minute)}
		body := exportertest.Get(t, client, "http://"+p.Address()+"/metrics")
		values, requests := strings.Count(body, "\nbilibili_followers{"), api.requests()
		if values != users || requests != users {
			t.Fatalf("got %d values and %d requests, want %d and no second request for any user", values, requests, users)
		}
	}
	seeded := exportertest.Start(t, exportertest.Command(args...))
	checkState(seeded)
	seeded.End(syscall.SIGTERM)

	var deaf []time.Duration // from the start of the process until it receives signals
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		for range earlyRounds {
			cmd := exportertest.Command(args...)
			start := time.Now()
			p := exportertest.Start(t, cmd)
			awaitCaught(t, cmd.Process.Pid, syscall.SIGHUP)
			deaf = append(deaf, time.Since(start))
			moment := rand.N(100 * time.Millisecond)
			time.Sleep(moment)
			if sig == syscall.SIGHUP {
				p.Signal(sig)
				p.Await(`msg="(Configuration reloaded)"`)
				checkState(p)
			}
			if status, _ := p.End(syscall.SIGTERM); status != 0 || !strings.Contains(p.Log(), "msg=Stopped") {
				t.Fatalf("%v %v after it could be received: got status %d and\n%s", sig, moment, status, p.Log())
			}
		}
	}
	checkState(exportertest.Start(t, exportertest.Command(args...)))
	slices.Sort(deaf)
	t.Logf("%d starts: signals were received after %v at least, %v in the median, %v at most",
		len(deaf), deaf[0], deaf[len(deaf)/2], deaf[len(deaf)-1])
}

// awaitCaught waits until a process that has inherited an ignored signal has installed a handler for it.
func awaitCaught(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	pattern := regexp.MustCompile(`(?m)^SigCgt:\s*([0-9a-f]+)$`)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		match := pattern.FindStringSubmatch(exportertest.ReadFile(t, fmt.Sprintf("/proc/%d/status", pid)))
		if match == nil {
			continue
		}
		if caught, err := strconv.ParseUint(match[1], 16, 64); err == nil && caught&(1<<(sig-1)) != 0 {
			return
		}
	}
	t.Fatalf("process %d has no handler for %v", pid, sig)
}
