//go:build bench

package bench

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// binary is the released binary, which make builds.
const binary = "../../bilibili_exporter"

// measureProcesses measures memory and startup of the released binary.
func (b *bench) measureProcesses(users int) {
	config := exportertest.WriteFile(b.t, "bilibili_exporter.yml", b.api.config(users, time.Hour))
	storage := b.t.TempDir()
	var cmd *exec.Cmd
	var p *exportertest.Process
	var url string
	start := func() {
		cmd = exec.Command(binary, "--config.file="+config, "--storage.path="+storage, "--web.listen-address=127.0.0.1:0")
		p = exportertest.Start(b.t, cmd)
		url = "http://" + p.Address() + "/metrics"
		b.get(url, "identity", longTimeout)
	}
	start()
	for range 10 {
		b.get(url, "gzip", longTimeout)
	}
	memory := peakMemory(b.t, cmd.Process.Pid)
	p.End(syscall.SIGTERM)

	requests := b.requests()
	var durations []time.Duration
	for range b.slowRounds() {
		durations = append(durations, measure(start))
		p.End(syscall.SIGTERM)
	}
	if got := b.requests(); got != requests {
		b.t.Errorf("got %s API requests after restarts, %s before", got, requests)
	}
	b.table.set("peak resident memory", "≤ 30 MB, ≤ 120 MB", users, "%.1f MB", memory/1e6)
	b.table.set("startup to first response, with state", "≤ 200 ms", users, "%.0f ms", milliseconds(median(durations)))
}

// peakMemory returns the peak resident memory of a process in bytes.
func peakMemory(t *testing.T, pid int) float64 {
	t.Helper()
	_, after, _ := strings.Cut(exportertest.ReadFile(t, fmt.Sprintf("/proc/%d/status", pid)), "VmHWM:")
	var kB float64
	if _, err := fmt.Sscan(after, &kB); err != nil {
		t.Fatal(err)
	}
	return kB * 1024
}
