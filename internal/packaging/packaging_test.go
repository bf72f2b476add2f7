// Package packaging builds packages for Debian and for distributions with RPM, and tests them.
package packaging

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }

// TestConfig checks that the packaged configuration needs a token and a user, and nothing else.
func TestConfig(t *testing.T) {
	packaged := exportertest.ReadFile(t, "internal/packaging/bilibili_exporter.yml")
	path := exportertest.WriteFile(t, "bilibili_exporter.yml", packaged)
	token := filepath.Join(filepath.Dir(path), "token")
	_, err := config.Load(path)
	for _, want := range []string{": api.token_file: " + token + ": no such file", ": users: want at least one user"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
	exportertest.Replace(t, path, "#   - 472747194\nusers:\n", "users:\n  - 472747194\n")
	if err := os.WriteFile(token, []byte("token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Parse(path, strings.NewReader("{api: {token_file: token}, users: [472747194]}"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestDefault checks the flags and the variables of /etc/default/bilibili_exporter.
func TestDefault(t *testing.T) {
	const path = "internal/packaging/bilibili_exporter.default"
	if got := exportertest.Find(t, path, `(?m)^ARGS="(.*)"`); got != "" {
		t.Errorf("got flags %s, want none", got)
	}
	flag := exportertest.Find(t, path, `(?m)^# ARGS="(--storage\.url=\S*)"$`)
	exportertest.ExpectArgs(t, []string{flag}, flag)
	exportertest.Find(t, "examples/systemd/bilibili_exporter.service", `(?m)^ExecStart=.* (\$ARGS)$`)
}
