//go:build packages

package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// machine is a copy of this machine, in which systemd runs. It shares only the network with this machine.
type machine struct {
	*testing.T
	systemd int // its process ID
}

// boot starts a copy of this machine, which needs root, and waits until systemd has started.
func boot(t *testing.T) *machine {
	t.Helper()
	p := exportertest.Start(t, exec.Command("unshare", "--mount", "internal/packaging/boot", t.TempDir()))
	m := &machine{T: t}
	t.Cleanup(func() {
		if m.systemd > 0 {
			syscall.Kill(m.systemd, syscall.SIGKILL) //nolint:errcheck // it may have exited
		}
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.PID()))
		if err != nil {
			break
		}
		if m.systemd, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
			continue
		}
		if state, _ := m.try("systemctl", "is-system-running"); state == "running\n" || state == "degraded\n" {
			return m
		}
	}
	t.Fatalf("the copy of this machine did not boot:\n%s", p.Log())
	return nil
}

// path returns the path of a file of the machine outside of it.
func (m *machine) path(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.systemd, path) }

// write writes a file of the machine as root.
func (m *machine) write(path, text string) {
	m.Helper()
	if err := os.WriteFile(m.path(path), []byte(text), 0o644); err != nil {
		m.Fatal(err)
	}
}

// try runs a command on the machine and returns its output.
func (m *machine) try(command ...string) (string, error) {
	args := append([]string{"--target", strconv.Itoa(m.systemd), "--all", "--root", "--wdns=/"}, command...)
	cmd := exec.Command("nsenter", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a command on the machine that must succeed, and returns its output.
func (m *machine) run(command ...string) string {
	m.Helper()
	out, err := m.try(command...)
	if err != nil {
		m.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// expect compares the output of a command, which may fail, with what it should be.
func (m *machine) expect(want string, command ...string) {
	m.Helper()
	if got, _ := m.try(command...); strings.TrimSpace(got) != want {
		m.Errorf("%s: got %q, want %q", command, got, want)
	}
}

// journal waits until the service, in its latest start, has logged a line that matches a pattern. It returns the first
// group.
func (m *machine) journal(pattern string) string {
	m.Helper()
	expression := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		start := m.run("systemctl", "show", "--property=InvocationID", "--value", service)
		log := m.run("journalctl", "--output=cat", "--no-pager", "_SYSTEMD_INVOCATION_ID="+strings.TrimSpace(start))
		if match := expression.FindStringSubmatch(log); match != nil {
			return match[1]
		}
		if time.Now().After(deadline) {
			m.Fatalf("the service logged nothing that matches %s:\n%s", pattern, log)
		}
	}
}
