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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running program.
type Process struct {
	T      *testing.T
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended

	mu     sync.Mutex // protects the following field
	output bytes.Buffer
}

// Write collects what the program prints.
func (p *Process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Start starts a program, which ends with the test at the latest.
func Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{T: t, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait() //nolint:errcheck // the state is looked at
		close(p.exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-p.exited
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), p.Log())
		}
	})
	return p
}

// Await waits until the program has printed what the pattern matches, and
// returns its first group.
func (p *Process) Await(pattern string) string {
	p.T.Helper()
	expression := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if groups := expression.FindStringSubmatch(p.Log()); groups != nil {
			return groups[1]
		}
		select {
		case <-p.exited:
			if !expression.MatchString(p.Log()) {
				p.T.Fatalf("ended without printing %s", pattern)
			}
		default:
		}
	}
	p.T.Fatalf("did not print %s", pattern)
	return ""
}

func (p *Process) Signal(signal syscall.Signal) {
	p.T.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.T.Fatal(err)
	}
}

// End sends a signal and returns the exit status and how long the end took.
func (p *Process) End(signal syscall.Signal) (int, time.Duration) {
	p.T.Helper()
	begin := time.Now()
	p.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.T.Fatalf("did not end after %v", signal)
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// StartExporter starts the exporter on a free port, with a store of its own
// unless the arguments name one, and returns its address.
func StartExporter(t *testing.T, args ...string) (*Process, string) {
	t.Helper()
	args = append([]string{"--web.listen-address=127.0.0.1:0"}, args...)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--storage.path=") }) {
		args = append(args, "--storage.path="+t.TempDir())
	}
	p := Start(t, Command(args...))
	return p, p.Await(`msg="Listening on" address=(\S+)`)
}

// Run runs the exporter to its end.
func Run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := Command(args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, t.TempDir()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
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

// WriteFile writes a file into a new folder and returns its path.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ReadFile returns the text of a file.
func ReadFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Replace replaces a text in a file, once.
func Replace(t *testing.T, path, old, changed string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Replace(ReadFile(t, path), old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
