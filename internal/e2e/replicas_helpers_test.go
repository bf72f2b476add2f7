//go:build replicas

package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// scraper is a client whose scrapes have a timeout that no test exceeds.
var scraper = &http.Client{Transport: exportertest.ScrapeTransport(10 * time.Second)}

// startReplica starts an exporter with a configuration file and a database's URL, whose password is in the environment.
func startReplica(t *testing.T, config, url string, args ...string) *exportertest.Process {
	t.Helper()
	cmd := exportertest.Command(append(args, "--config.file="+config, "--storage.url="+url,
		"--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle")...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+pgtest.Password)
	return exportertest.Start(t, cmd)
}

// scrape returns the metrics of an exporter. It fails unless they arrive within the timeout of the scrape.
func scrape(t *testing.T, p *exportertest.Process) string {
	t.Helper()
	start := time.Now()
	body := exportertest.Get(t, scraper, "http://"+p.Address()+"/metrics")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the scrape took %v", took)
	}
	return body
}

// sample returns the value of a sample, and fails if there is none.
func sample(t *testing.T, metrics, series string) float64 {
	t.Helper()
	value, ok := samplesWith(metrics, series)[series]
	if !ok {
		t.Fatalf("there is no sample %s in\n%s", series, metrics)
	}
	return value
}

// samplesWith returns the samples whose series have a prefix, by series.
func samplesWith(metrics, prefix string) map[string]float64 {
	found := make(map[string]float64)
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[end+1:]), 64); err == nil {
			found[line[:end]] = value
		}
	}
	return found
}

const (
	activeMetric   = "bilibili_exporter_active"
	usedMetric     = "bilibili_quota_used"
	followers      = "bilibili_followers"
	readErrors     = `bilibili_storage_errors_total{operation="read"}`
	writeErrors    = `bilibili_storage_errors_total{operation="write"}`
	selectLease    = "SELECT term, holder FROM bilibili_exporter_lease"
	expireLease    = "UPDATE bilibili_exporter_lease SET until = clock_timestamp()"
	selectVersions = "SELECT xmin, * FROM bilibili_exporter_records ORDER BY namespace, key"
)

// isActive reports whether an exporter shows, in a scrape, that it is the active one.
func isActive(t *testing.T, p *exportertest.Process) bool {
	t.Helper()
	return sample(t, scrape(t, p), activeMetric) == 1
}

// await waits until a condition holds, at most for the timeout. It returns how long that took.
func await(t *testing.T, timeout time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > timeout {
			t.Fatalf("not within %v: %s", timeout, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

// holderName returns the name under which a process holds the lease.
func holderName(p *exportertest.Process) string {
	host, err := os.Hostname()
	return fmt.Sprintf("%s/%d", cmp.Or(host, fmt.Sprint(err)), p.PID())
}

// freeze stops a process and waits until none of its threads runs. The signal alone lets them run until one of them has
// received it, which on a busy machine can take a while.
func freeze(t *testing.T, p *exportertest.Process) {
	t.Helper()
	p.Signal(syscall.SIGSTOP)
	await(t, 10*time.Second, "the process is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, runs)
	})
}

// runs reports whether a thread with a file stat, see proc(5), is not stopped. It may have ended.
func runs(path string) bool {
	stat, err := os.ReadFile(path)
	_, state, _ := strings.Cut(string(stat), ") ") // behind the name of the program
	return err == nil && !strings.HasPrefix(state, "T")
}
