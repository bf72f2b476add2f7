//go:build replicas

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// startPgbouncer starts pgbouncer in transaction mode for a database server, and returns its port.
func startPgbouncer(t *testing.T, serverPort int) (port int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbouncer") // readable for another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	users := filepath.Join(dir, "users")
	writePublic(t, users, fmt.Sprintf("\"exporter\" \"%s\"\n", pgtest.Password))
	config := filepath.Join(dir, "pgbouncer.ini")
	writePublic(t, config, fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 3
server_login_retry = 1
`, serverPort, port, users))
	cmd := exec.Command("pgbouncer", config)
	if found, err := exec.LookPath("/usr/sbin/pgbouncer"); err == nil { // which is not in the $PATH of every user
		cmd.Path = found
	}
	pgtest.RunAsServer(cmd)
	exportertest.Start(t, cmd)
	await(t, 10*time.Second, "pgbouncer listens", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return port
}

// writePublic writes a file that every user can read, in a directory that every user can read.
func writePublic(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
}
