package systemd

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestUnit compares the unit with the exporter.
func TestUnit(t *testing.T) {
	const path = "examples/systemd/bilibili_exporter.service"
	find := func(pattern string) string { return exportertest.Find(t, path, pattern) }
	command := strings.Fields(strings.ReplaceAll(find(`ExecStart=((?:.*\\\n)*.*)`), "\\\n", ""))
	exportertest.ExpectArgs(t, command[1:], "--storage.path=/var/lib/"+find(`StateDirectory=(.*)`))
	if want := "--config.file=" + find(`# .* (/etc/\S+\.yml)`); !slices.Contains(command, want) {
		t.Errorf("got %q, want %s among them", command, want)
	}
	timeout, err := time.ParseDuration(find(`TimeoutStopSec=(\d+)`) + "s")
	if err != nil {
		t.Fatal(err)
	}
	exportertest.ExpectStopTimeout(t, timeout)
	got, want := find(`token_file: ([^}]*)}`), "/run/credentials/"+filepath.Base(path)+"/"+find(`LoadCredential=(\w+):`)
	if got != want {
		t.Errorf("got token file %s, want the credential %s", got, want)
	}
}
