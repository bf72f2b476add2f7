package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

// TestRestart keeps values and intervals over a restart.
func TestRestart(t *testing.T) {
	api := newServer(t)
	dir := t.TempDir()
	change := func(o *server.Options) { o.StoragePath = dir }
	e, _ := newExporter(t, configFor(api.URL), change)
	ask(e, http.MethodGet, "/metrics")
	e.Close(t.Context())
	e, logged := newExporter(t, configFor(api.URL), change)
	if want := "records=5\n"; !strings.Contains(logged.String(), want) { // three users, the budget and the token
		t.Errorf("the log lacks %s:\n%s", want, logged)
	}
	body := ask(e, http.MethodGet, "/metrics").Body.String()
	for _, want := range []string{
		`bilibili_followers{wmid="2"} 4.153991e+06`, "bilibili_quota_used 3", "bilibili_api_requests_total 0",
		`bilibili_storage_errors_total{operation="read"} 0`, `bilibili_storage_errors_total{operation="write"} 0`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if got := api.Total().Requests; got != 3 {
		t.Errorf("got %d calls, want 3", got)
	}
}

// TestDamagedStore goes on with a new store, says so loudly, and counts the
// elapsed share of the day's budget as used.
func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.db"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := configFor(newServer(t).URL) + "quota: {daily_limit: 1000000000}\n"
	e, logged := newExporter(t, text, func(o *server.Options) { o.StoragePath = dir })
	if !strings.Contains(logged.String(), `level=error msg="The stored state is damaged and was set aside: every user will be asked about anew, and the elapsed share of the day's budget counts as used" set_aside=`+dir) {
		t.Errorf("the log says\n%s", logged)
	}
	body := ask(e, http.MethodGet, "/metrics").Body.String()
	if !strings.Contains(body, `bilibili_storage_errors_total{operation="read"} 1`) || strings.Contains(body, "\nbilibili_quota_used 3\n") {
		t.Error("the damage is not counted, or nothing of the budget")
	}
}

func TestStoreInUse(t *testing.T) {
	dir := t.TempDir()
	newExporter(t, configFor("http://127.0.0.1:1"), func(o *server.Options) { o.StoragePath = dir })
	cfg, err := config.Parse("b.yml", strings.NewReader(configFor("http://127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.New(cfg, server.Options{Logger: log.NewNopLogger(), TelemetryPath: "/metrics", StoragePath: dir})
	if err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("got %v", err)
	}
}

func TestNoStore(t *testing.T) {
	_, logged := newExporter(t, configFor("http://127.0.0.1:1"))
	if !strings.Contains(logged.String(), `level=warn msg="Nothing is kept on disk`) {
		t.Errorf("the log says\n%s", logged)
	}
}

// TestFailingDisk says on the page, and once in the log, that nothing is kept,
// and takes it back.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	text := configFor(newServer(t).URL) + "quota: {min_interval: 1ms}\n"
	e, logged := newExporter(t, text, func(o *server.Options) { o.StoragePath = dir })
	state, aside := filepath.Join(dir, "state.db"), filepath.Join(dir, "aside")
	if err := os.Rename(state, aside); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ask(e, http.MethodGet, "/metrics")
		time.Sleep(2 * time.Millisecond)
	}
	expectPage(t, e, "/", "The state is not on disk: "+state+" was removed or replaced")
	if got := strings.Count(logged.String(), "The state is not on disk: a restart would ask, and pay, again"); got != 1 {
		t.Errorf("the log says it %d times:\n%s", got, logged)
	}
	if err := os.Rename(aside, state); err != nil {
		t.Fatal(err)
	}
	ask(e, http.MethodGet, "/metrics")
	expectPage(t, e, "/", "!The state is not on disk")
	if !strings.Contains(logged.String(), `level=info msg="The state is written to disk again, and nothing is missing"`) {
		t.Errorf("the log says\n%s", logged)
	}
}
