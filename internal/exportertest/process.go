package exportertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running program.
type Process struct {
	T      *testing.T
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has exited

	mu     sync.Mutex // protects the following field
	output bytes.Buffer
}

// Start starts a program. It is killed at the end of the test if it is still running.
func Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{T: t, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait() //nolint:errcheck // End returns the exit status
		close(p.exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have exited
		<-p.exited
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), p.Log())
		}
	})
	return p
}

// Write collects the program's output.
func (p *Process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

// Log returns the program's output so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Await waits until the program's output matches the pattern, and returns its first group.
func (p *Process) Await(pattern string) string {
	p.T.Helper()
	expression := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, exited := p.Exited() // before the output is read, which is then complete
		if groups := expression.FindStringSubmatch(p.Log()); groups != nil {
			return groups[1]
		}
		if exited {
			p.T.Fatalf("exited without output that matches %s", pattern)
		}
	}
	p.T.Fatalf("no output matches %s", pattern)
	return ""
}

// Exited reports whether the program has exited, and its exit status then.
func (p *Process) Exited() (status int, ok bool) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), true
	default:
		return 0, false
	}
}

// PID returns the program's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Address waits until the program is listening, and returns the address that it logs.
func (p *Process) Address() string {
	p.T.Helper()
	return p.Await(`msg="?Listening on"?(?: component=\w+)? address=(\S+)`)
}

// Signal sends a signal to the program, which must be running.
func (p *Process) Signal(signal syscall.Signal) {
	p.T.Helper()
	if !p.TrySignal(signal) {
		p.T.Fatalf("signal %v: the program has exited", signal)
	}
}

// TrySignal sends a signal to the program. It reports false if the program has exited.
func (p *Process) TrySignal(signal syscall.Signal) bool {
	p.T.Helper()
	err := p.cmd.Process.Signal(signal)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatal(err)
	}
	return err == nil
}

// End sends a signal, waits until the program has exited, and returns its exit status and how long that took.
func (p *Process) End(signal syscall.Signal) (int, time.Duration) {
	p.T.Helper()
	start := time.Now()
	p.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.T.Fatalf("did not exit after signal %v", signal)
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(start)
}

// Get returns the body of a page.
func Get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got status %d:\n%s", url, resp.StatusCode, body)
	}
	return string(body)
}
