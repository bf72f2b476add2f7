// Package pgtest runs a PostgreSQL server for tests.
package pgtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Password is the password of the server's superuser, postgres.
const Password = "pässword:with/@special?characters#%"

// Server is a PostgreSQL server of its own, on loopback, with the usual durability.
type Server struct {
	t    *testing.T
	dir  string
	data string
	Port int
}

// Start starts a server with an empty cluster. It ends with the test.
func Start(t *testing.T) *Server {
	t.Helper()
	return start(t, tempDir(t))
}

// StartSmall starts a server on a small disk, which Fill fills. It needs root.
func StartSmall(t *testing.T) *Server {
	t.Helper()
	dir := tempDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatalf("mounting a tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return start(t, dir)
}

// tempDir creates a directory whose name is short and whose files are readable for another user.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s := &Server{t: t, dir: dir, data: filepath.Join(dir, "data"), Port: freePort(t)}
	password := filepath.Join(dir, "password")
	if err := errors.Join(os.WriteFile(password, []byte(Password), 0o600), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if id, ok := serverUser(); ok {
		if err := errors.Join(os.Chown(dir, id, id), os.Chown(password, id, id)); err != nil {
			t.Fatal(err)
		}
	}
	s.mustRun("initdb", "-D", s.data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+password, "-E", "UTF8",
		"--no-locale")
	s.Resume()
	t.Cleanup(func() {
		if err := s.run("pg_ctl", "-D", s.data, "-m", "immediate", "stop"); err != nil {
			t.Log(err)
		}
	})
	return s
}

// Restart stops the server as a crash would, and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.Resume()
}

// Kill stops the server as a crash would.
func (s *Server) Kill() {
	s.t.Helper()
	s.mustRun("pg_ctl", "-D", s.data, "-m", "immediate", "stop")
}

// Fill fills the disk of the server until the returned function is called, which also starts the server again if it has
// stopped.
func (s *Server) Fill() (free func()) {
	s.t.Helper()
	ballast := filepath.Join(s.dir, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		s.t.Fatalf("filling the disk: got error %v", err)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			s.t.Fatal(err)
		}
		if s.run("pg_ctl", "-D", s.data, "status") != nil {
			s.Resume()
		}
	}
}

// zeros is an endless stream of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Resume starts the server.
func (s *Server) Resume() {
	s.t.Helper()
	options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=", s.Port)
	s.mustRun("pg_ctl", "-D", s.data, "-o", options, "-l", filepath.Join(s.dir, "log"), "-w", "start")
}

// URL returns a URL of a database without the password, which belongs into $PGPASSWORD.
func (s *Server) URL(database string) string { return URL("postgres", s.Port, database) }

// URL returns a URL of a database on loopback.
func URL(role string, port int, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", role, port, database)
}

// Exec executes statements in a database and returns what they select, without headers.
func (s *Server) Exec(database, statements string) string {
	s.t.Helper()
	cmd := exec.Command(path("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements, s.URL(database))
	cmd.Env = append(os.Environ(), "PGPASSWORD="+Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *Server) mustRun(name string, args ...string) {
	s.t.Helper()
	if err := s.run(name, args...); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.t.Fatalf("%v\n%s", err, log)
	}
}

// run runs a command of the server as its user.
func (s *Server) run(name string, args ...string) error {
	cmd := exec.Command(path(name), args...)
	cmd.Dir = s.dir
	RunAsServer(cmd)
	output, err := os.Create(filepath.Join(s.dir, "output")) // not a pipe, which the server would keep open
	if err != nil {
		return err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		out, _ := os.ReadFile(output.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// RunAsServer makes a command run as the user of the server if the test runs as root, which PostgreSQL and pgbouncer
// refuse.
func RunAsServer(cmd *exec.Cmd) {
	if id, ok := serverUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}}
	}
}

// serverUser returns the user ID under which the server runs if the test runs as root.
func serverUser() (id int, ok bool) {
	if os.Getuid() != 0 {
		return 0, false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, false
	}
	id, err = strconv.Atoi(u.Uid)
	return id, err == nil
}

// path returns the path of a command of PostgreSQL. Debian does not have all of them in $PATH.
func path(name string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	return name
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
