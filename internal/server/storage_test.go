package server_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

// TestRestart checks that values and intervals survive a restart.
func TestRestart(t *testing.T) {
	api := newServer(t)
	dir := t.TempDir()
	change := func(o *server.Options) { o.StoragePath = dir }
	e, _ := newExporter(t, configFor(api.URL), change)
	send(e, http.MethodGet, "/metrics")
	e.Close(t.Context())
	e, logged := newExporter(t, configFor(api.URL), change)
	if want := "records=6\n"; !strings.Contains(logged.String(), want) { // three users, budget, pause and token
		t.Errorf("the log lacks %s:\n%s", want, logged)
	}
	body := send(e, http.MethodGet, "/metrics").Body.String()
	for _, want := range []string{
		`bilibili_followers{wmid="2"} 4.153991e+06`, "bilibili_quota_used 3", "bilibili_api_requests_total 0",
		`bilibili_storage_errors_total{operation="read"} 0`, `bilibili_storage_errors_total{operation="write"} 0`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if got := api.Total().Requests; got != 3 {
		t.Errorf("got %d requests, want 3", got)
	}
}

// TestDamagedStore checks that damage is logged as an error, and that the exporter continues with a new store, in which
// the elapsed share of the day's budget is used.
func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.db"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := configFor(newServer(t).URL) + "quota: {daily_limit: 1000000000}\n"
	e, logged := newExporter(t, text, func(o *server.Options) { o.StoragePath = dir })
	want := `level=error msg="Persistent state is damaged and was renamed" renamed_to=` + dir
	if !strings.Contains(logged.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, logged)
	}
	body := send(e, http.MethodGet, "/metrics").Body.String()
	if !strings.Contains(body, `bilibili_storage_errors_total{operation="read"} 1`) {
		t.Error("the damage is not counted")
	}
	if strings.Contains(body, "\nbilibili_quota_used 3\n") {
		t.Error("the elapsed share of the day's budget is not used")
	}
	expectPage(t, e, "/", "The persistent state was damaged at startup and was renamed to "+dir,
		"the share of the day that had passed by then counts as used.")
}

// TestStorageMode checks that a directory that others may use is warned about, unless it is shared on purpose.
func TestStorageMode(t *testing.T) {
	for _, test := range []struct {
		mode os.FileMode // 0 if the exporter creates the directory
		want string      // empty for no warning
	}{
		{0, ""}, {0o700, ""}, {0o770 | os.ModeSetgid, ""},
		{0o755, "mode=0755"}, {0o710, "mode=0710"}, {0o777 | os.ModeSticky, "mode=0777"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if test.mode != 0 {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, test.mode)); err != nil {
				t.Fatal(err)
			}
		}
		_, logged := newExporter(t, configFor("http://127.0.0.1:1"), func(o *server.Options) { o.StoragePath = dir })
		line := `level=warn msg="Storage directory is open to other users" path=` + dir + " " + test.want
		if got := logged.String(); strings.Contains(got, "level=warn") != (test.want != "") ||
			test.want != "" && !strings.Contains(got, line) {
			t.Errorf("%v: got\n%s\nwant a warning with %q", test.mode, got, test.want)
		}
	}
}

// TestRestartInPause checks that a restart logs the pause that the last process started, unless the token has changed.
func TestRestartInPause(t *testing.T) {
	api := newServer(t)
	api.SetAccount(justoneapitest.Account{DeadToken: true})
	dir := t.TempDir()
	withStore := func(o *server.Options) { o.StoragePath = dir }
	e, _ := newExporter(t, configFor(api.URL), withStore)
	send(e, http.MethodGet, "/metrics")
	e.Close(t.Context())
	e, logged := newExporter(t, configFor(api.URL), withStore)
	e.Close(t.Context())
	want := regexp.MustCompile(`level=warn msg="Requests are still paused" reason=token since=\S+\+08:00 ` +
		`advice="Use a valid token\..*" next_probe=\S+\+08:00\n`)
	if got := logged.String(); !want.MatchString(got) {
		t.Errorf("got\n%s\nwant a line that matches %s", got, want)
	}
	changed := strings.Replace(configFor(api.URL), justoneapitest.Token, "another-token", 1)
	_, logged = newExporter(t, changed, withStore)
	if got := logged.String(); strings.Contains(got, "paused") || !strings.Contains(got, "the token has changed") {
		t.Errorf("with another token, got\n%s", got)
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
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
}

func TestNoStore(t *testing.T) {
	_, logged := newExporter(t, configFor("http://127.0.0.1:1"))
	if !strings.Contains(logged.String(), `level=warn msg="Persistence disabled" advice="Set --storage.path: `) {
		t.Errorf("got log\n%s", logged)
	}
}

// TestFailingDisk checks that failed writes are shown on the status page and logged once, until a write succeeds.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	text := configFor(newServer(t).URL) + "quota: {min_interval: 1ms}\n"
	e, logged := newExporter(t, text, func(o *server.Options) { o.StoragePath = dir })
	state, aside := filepath.Join(dir, "state.db"), filepath.Join(dir, "aside")
	if err := os.Rename(state, aside); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		send(e, http.MethodGet, "/metrics")
		time.Sleep(2 * time.Millisecond)
	}
	expectPage(t, e, "/", "Writing persistent state has failed since ", state+" was removed, replaced or cut")
	if got := strings.Count(logged.String(), `level=error msg="Error writing persistent state"`); got != 1 {
		t.Errorf("the error is logged %d times, want once:\n%s", got, logged)
	}
	if err := os.Rename(aside, state); err != nil {
		t.Fatal(err)
	}
	send(e, http.MethodGet, "/metrics")
	expectPage(t, e, "/", "!Writing persistent state has failed")
	if !strings.Contains(logged.String(), `level=info msg="Persistent state recovered"`) {
		t.Errorf("got log\n%s", logged)
	}
}
