//go:build bench

package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the exporter as it is shipped: make builds it.
const binary = "../../bilibili_exporter"

// processes measures the exporter as it is shipped.
func (b *bench) processes(users int) {
	config := filepath.Join(b.t.TempDir(), "bilibili_exporter.yml")
	if err := os.WriteFile(config, []byte(b.api.config(users, time.Hour)), 0o600); err != nil {
		b.t.Fatal(err)
	}
	address := freeAddress(b.t)
	args := []string{"--config.file=" + config, "--storage.path=" + b.t.TempDir(), "--web.listen-address=" + address, "--log.level=error"}
	var p *process
	serve := func() {
		p = start(b.t, address, binary, args...)
		b.get("http://"+address+"/metrics", "identity", patient)
	}
	serve()
	for range 10 {
		b.get("http://"+address+"/metrics", "gzip", patient)
	}
	memory := p.peak()
	p.end()

	calls := b.calls()
	var took []time.Duration
	for range b.rarely() {
		took = append(took, timeOf(serve))
		p.end()
	}
	if got := b.calls(); got != calls {
		b.t.Errorf("got %s calls after restarts, and %s before", got, calls)
	}
	b.table.set("resident memory, at its peak", "≤ 30 MB, ≤ 120 MB", users, "%.1f MB", memory/1e6)
	b.table.set("start to the first answer, with state", "≤ 300 ms", users, "%.0f ms", milliseconds(median(took)))
}

// process is a running program.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts a program, which ends with the test at the latest, and returns
// when it listens on an address.
func start(t *testing.T, address, name string, args ...string) *process {
	t.Helper()
	p := &process{t, exec.Command(name, args...), make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() //nolint:errcheck // it is killed
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-p.ended
	})
	for {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			conn.Close()
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("%s has ended", name)
		case <-time.After(time.Millisecond):
		}
	}
}

func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
}

// peak returns the most memory that the process has had, in bytes.
func (p *process) peak() float64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	if _, err := fmt.Sscan(after, &kB); err != nil {
		p.t.Fatal(err)
	}
	return kB * 1024
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
