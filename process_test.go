package main

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

// beExporter is the environment variable that makes the test binary be the
// exporter: so the tests run what they were built with, the race detector
// included, and go test sees when it changes.
const beExporter = "BE_BILIBILI_EXPORTER"

func TestMain(m *testing.M) {
	if os.Getenv(beExporter) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// exporterCommand returns the command that runs the exporter.
func exporterCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), beExporter+"=yes")
	return cmd
}

// process is a running program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended

	mu     sync.Mutex // protects the following field
	output bytes.Buffer
}

// Write collects what the program prints.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start starts a program, which ends with the test at the latest.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
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
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), p.log())
		}
	})
	return p
}

// await waits until the program has printed what the pattern matches, and
// returns its first group.
func (p *process) await(pattern string) string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if groups := expression.FindStringSubmatch(p.log()); groups != nil {
			return groups[1]
		}
		select {
		case <-p.exited:
			if !expression.MatchString(p.log()) {
				p.t.Fatalf("ended without printing %s", pattern)
			}
		default:
		}
	}
	p.t.Fatalf("did not print %s", pattern)
	return ""
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// end sends a signal and returns the exit status and how long the end took.
func (p *process) end(signal syscall.Signal) (int, time.Duration) {
	p.t.Helper()
	begin := time.Now()
	p.signal(signal)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("did not end after %v", signal)
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// startExporter starts the exporter on a free port, with a store of its own
// unless the arguments name one, and returns its address.
func startExporter(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	args = append([]string{"--web.listen-address=127.0.0.1:0"}, args...)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--storage.path=") }) {
		args = append(args, "--storage.path="+t.TempDir())
	}
	p := start(t, exporterCommand(args...))
	return p, p.await(`msg="Listening on" address=(\S+)`)
}

// runExporter runs the exporter to its end.
func runExporter(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exporterCommand(args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, t.TempDir()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// get returns the body of a page.
func get(t *testing.T, client *http.Client, url string) string {
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

// writeFile writes a file into a new folder and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read returns the text of a file.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replace replaces a text in a file, once.
func replace(t *testing.T, path, old, changed string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Replace(read(t, path), old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
