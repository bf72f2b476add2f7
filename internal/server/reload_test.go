package server_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

// withReload makes reloads read the configuration that text returns.
func withReload(t *testing.T, text func() string) func(*server.Options) {
	name := filepath.Join(t.TempDir(), "b.yml")
	return func(o *server.Options) {
		o.EnableLifecycle = true
		o.Load = func() (*config.Config, error) { return config.Parse(name, strings.NewReader(text())) }
	}
}

// expectPage checks that a page contains some texts, and does not contain those that start with an exclamation mark.
func expectPage(t *testing.T, e *server.Exporter, target string, want ...string) {
	t.Helper()
	body := send(e, http.MethodGet, target).Body.String()
	for _, text := range want {
		text, unwanted := strings.CutPrefix(text, "!")
		if strings.Contains(body, text) == unwanted {
			t.Errorf("%s: want %q (unwanted: %v) in\n%s", target, text, unwanted, body)
		}
	}
}

// TestReload reloads valid and invalid configurations.
func TestReload(t *testing.T) {
	api := newServer(t)
	text := configFor(api.URL)
	e, logged := newExporter(t, text, withReload(t, func() string { return text }))
	expectPage(t, e, "/metrics", "bilibili_exporter_config_last_reload_successful 1\n",
		"bilibili_exporter_config_last_reload_success_timestamp_seconds 1.")
	if w := send(e, http.MethodGet, "/-/reload"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: got status %d", w.Code)
	}

	text = strings.Replace(text, "[1, 2, 3]", "[2, {wmid: 4, name: four, labels: {agency: x}}]", 1)
	w := send(e, http.MethodPost, "/-/reload")
	if w.Code != http.StatusOK || w.Body.String() != "Configuration reloaded.\n" {
		t.Errorf("got status %d and %s", w.Code, w.Body)
	}
	expectPage(t, e, "/config", "wmid: 2", "agency: x", "!wmid: 3")
	expectPage(t, e, "/", ">4<", "four", "!>3<")
	expectPage(t, e, "/metrics", `bilibili_user_info{agency="x",name="four",wmid="4"} 1`, `bilibili_followers{wmid="2"}`,
		`bilibili_followers{wmid="4"}`, `!wmid="1"`, `!wmid="3"`, "bilibili_api_requests_total 4\n",
		`promhttp_metric_handler_requests_total{code="200"} 1`)

	text = "api: {token: x}\nusers:\n  - 2\n  - wmid: 5\n    nickname: x\n"
	want := "b.yml:5: users[1].nickname: unknown field; valid fields: labels, min_interval, name, wmid"
	w = send(e, http.MethodPost, "/-/reload")
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), want) {
		t.Errorf("got status %d and %s", w.Code, w.Body)
	}
	line := `level=error msg="Error reloading configuration, keeping the previous one" err="`
	if !strings.Contains(logged.String(), line) || !strings.Contains(logged.String(), want) {
		t.Errorf("the log lacks %s…%s:\n%s", line, want, logged)
	}
	expectPage(t, e, "/config", "agency: x")
	expectPage(t, e, "/", "Reloading the configuration has failed since ", ", and the previous one is used: ", want,
		"four")
	expectPage(t, e, "/metrics", "bilibili_exporter_config_last_reload_successful 0\n", `wmid="4"`)

	text = configFor(api.URL)
	send(e, http.MethodPost, "/-/reload")
	expectPage(t, e, "/", "!Reloading the configuration has failed")
	expectPage(t, e, "/metrics", "bilibili_exporter_config_last_reload_successful 1\n",
		`bilibili_user_info{name="1",wmid="1"} 1`)
	if got := api.Total().Requests; got != 4 {
		t.Errorf("got %d requests, want 4", got)
	}
	for _, message := range []string{`msg="Configuration reloaded"`, `msg="Estimated API usage" users=2`} {
		if !strings.Contains(logged.String(), message) {
			t.Errorf("the log lacks %s:\n%s", message, logged)
		}
	}
}

// TestReloadWithoutFile checks that a reload without a configuration file succeeds, and changes nothing.
func TestReloadWithoutFile(t *testing.T) {
	api := newServer(t)
	e, logged := newExporter(t, configFor(api.URL), func(o *server.Options) { o.EnableLifecycle = true })
	reloads := func() string {
		body := send(e, http.MethodGet, "/metrics").Body.String()
		return strings.Join(regexp.MustCompile(`(?m)^bilibili_exporter_config_.*`).FindAllString(body, -1), "\n")
	}
	before := reloads()
	time.Sleep(10 * time.Millisecond) // a reload would change the timestamp
	w := send(e, http.MethodPost, "/-/reload")
	if w.Code != http.StatusOK || w.Body.String() != "Nothing to reload, because no configuration file is used.\n" {
		t.Errorf("got status %d and %s", w.Code, w.Body)
	}
	const want = "bilibili_exporter_config_last_reload_successful 1"
	if got := reloads(); got != before || !strings.Contains(got, want) {
		t.Errorf("the metrics of reloads changed from\n%s\nto\n%s", before, got)
	}
	if got := strings.Count(logged.String(), `level=info msg="Nothing to reload`); got != 1 {
		t.Errorf("got %d lines, want 1, in\n%s", got, logged)
	}
}

// TestReloadChangesToken checks that a reload changes the token, which ends a pause.
func TestReloadChangesToken(t *testing.T) {
	api := newServer(t)
	text := strings.Replace(configFor(api.URL), justoneapitest.Token, "wrong", 1)
	e, _ := newExporter(t, text, withReload(t, func() string { return text }))
	expectPage(t, e, "/metrics", `bilibili_api_paused{reason="token"} 1`)
	expectPage(t, e, "/", "Requests are paused: token invalid or inactive (100).")
	text = configFor(api.URL)
	send(e, http.MethodPost, "/-/reload")
	expectPage(t, e, "/", "!Requests are paused")
	expectPage(t, e, "/metrics", `bilibili_api_paused{reason="token"} 0`, `bilibili_up{wmid="3"} 1`)
}

// TestBadReloads checks that invalid configurations change nothing.
func TestBadReloads(t *testing.T) {
	api := newServer(t)
	text := configFor(api.URL)
	e, _ := newExporter(t, text, withReload(t, func() string { return text }))
	for _, bad := range []string{
		"", "{", "users: []\napi: {token: x}", "users: [1]\napi: {token: x y}",
		configFor(api.URL, "  http_client: {tls_config: {ca_file: /does/not/exist}}\n"),
		"users: [1]\napi: {token_file: /does/not/exist}",
	} {
		text = bad
		w := send(e, http.MethodPost, "/-/reload")
		if w.Code != http.StatusInternalServerError || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%q: got status %d and %s", bad, w.Code, w.Body)
		}
		expectPage(t, e, "/config", "wmid: 3")
	}
	expectPage(t, e, "/metrics", `bilibili_up{wmid="3"} 1`)
	e.Close(t.Context())
	text = configFor(api.URL)
	w := send(e, http.MethodPost, "/-/reload")
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "shutting down") {
		t.Errorf("after Close: got status %d and %s", w.Code, w.Body)
	}
}

// TestHungReload checks that a hanging file system is reported and does not block scrapes.
func TestHungReload(t *testing.T) {
	t.Parallel()
	api := newServer(t)
	release := make(chan struct{})
	e, logged := newExporter(t, configFor(api.URL), func(o *server.Options) {
		o.EnableLifecycle = true
		o.Load = func() (*config.Config, error) {
			<-release
			return nil, errors.New("released")
		}
	})
	var hung sync.WaitGroup
	hung.Go(func() { send(e, http.MethodPost, "/-/reload") })
	defer hung.Wait()
	defer close(release)
	time.Sleep(10 * time.Millisecond)
	want := "another reload is still running, blocked by the configuration file or a file that it names"
	w := send(e, http.MethodPost, "/-/reload")
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), want) ||
		!strings.Contains(logged.String(), want) {
		t.Errorf("got status %d and %s, and the log\n%s", w.Code, w.Body, logged)
	}
	expectPage(t, e, "/metrics", `bilibili_up{wmid="3"} 1`, "bilibili_exporter_config_last_reload_successful 0")
	expectPage(t, e, "/", ", and the previous one is used: another reload is still running")
}

// TestForeignReload sends what a page of another origin makes a browser send.
func TestForeignReload(t *testing.T) {
	text := configFor("http://127.0.0.1:1")
	e, _ := newExporter(t, text, withReload(t, func() string { return text }))
	for header, want := range map[string]int{"cross-site": http.StatusForbidden, "same-origin": http.StatusOK} {
		if w := send(e, http.MethodPost, "/-/reload", "Sec-Fetch-Site", header); w.Code != want {
			t.Errorf("%s: got status %d, want %d", header, w.Code, want)
		}
	}
}

func TestReloadDisabled(t *testing.T) {
	text := configFor("http://127.0.0.1:1")
	fixed, _ := newExporter(t, text)
	e, _ := newExporter(t, text, withReload(t, func() string { return text }),
		func(o *server.Options) { o.EnableLifecycle = false })
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w := send(e, method, "/-/reload")
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "--web.enable-lifecycle") {
			t.Errorf("%s: got status %d and %s", method, w.Code, w.Body)
		}
		w = send(fixed, method, "/-/reload")
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "Nothing to reload") {
			t.Errorf("%s without a configuration file: got status %d and %s", method, w.Code, w.Body)
		}
	}
}

// TestConcurrentReloads reloads and scrapes concurrently.
func TestConcurrentReloads(t *testing.T) {
	api := newServer(t)
	var mu sync.Mutex
	var n int
	e, _ := newExporter(t, configFor(api.URL), withReload(t, func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		users := []string{"[1, {wmid: 2, labels: {a: b}}]", "[3, 2]", "[1, 3, {wmid: 2, labels: {c: d}}]"}[n%3]
		return strings.Replace(configFor(api.URL), "[1, 2, 3]", users, 1)
	}))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				send(e, http.MethodPost, "/-/reload")
				w := send(e, http.MethodGet, "/metrics")
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "bilibili_user_info{") {
					t.Errorf("got status %d and\n%s", w.Code, w.Body)
				}
				send(e, http.MethodGet, "/")
			}
		})
	}
	all.Wait()
	for wmid := range int64(3) {
		if got := api.Tally(wmid + 1).Requests; got != 1 {
			t.Errorf("got %d requests for user %d, want 1", got, wmid+1)
		}
	}
}

// TestTokenAdvice checks that the log and the status page name the place where the token comes from, also after a
// reload.
func TestTokenAdvice(t *testing.T) {
	api := newServer(t)
	api.SetAccount(justoneapitest.Account{DeadToken: true})
	t.Setenv(config.TokenVariable, "x")
	credentials := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	files := map[string]string{
		"file": filepath.Join(t.TempDir(), "token"), "credential": filepath.Join(credentials, "token"),
	}
	for name, path := range files {
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := "  token: " + justoneapitest.Token + "\n"
	with := func(replacement string) string { return strings.Replace(configFor(api.URL), line, replacement, 1) }
	text := with(line)
	e, logged := newExporter(t, text, withReload(t, func() string { return text }))
	for _, test := range []struct{ text, want string }{
		{with(line), "To change the token, edit api.token and reload."},
		{with(""), "To change the token, set the environment variable JUSTONEAPI_TOKEN and restart."},
		{with("  token_file: " + files["file"] + "\n"), "write the new one to api.token_file: the next refresh reads it."},
		{with("  token_file: " + files["credential"] + "\n"), "systemd copies it at startup."},
	} {
		text = test.text
		if w := send(e, http.MethodPost, "/-/reload"); w.Code != http.StatusOK { // the changed token ends the pause
			t.Fatalf("got status %d and %s", w.Code, w.Body)
		}
		send(e, http.MethodGet, "/metrics")
		expectPage(t, e, "/", test.want)
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, `level=warn msg="Requests paused" reason=token `) && strings.Contains(line, test.want)
		}) {
			t.Errorf("no pause is logged with %q in\n%s", test.want, logged)
		}
	}
}

// withLoader makes reloads read a file.
func withLoader(loader *config.Loader) func(*server.Options) {
	return func(o *server.Options) { o.EnableLifecycle, o.Load, o.Changed = true, loader.Load, loader.Changed }
}

// TestReloadIfChanged checks that an invalid file is reported once, with each problem on a line of its own.
func TestReloadIfChanged(t *testing.T) {
	text := configFor("http://127.0.0.1:1")
	path := filepath.Join(t.TempDir(), "b.yml")
	write(t, path, text)
	loader := config.NewLoader(path)
	if _, err := loader.Load(); err != nil {
		t.Fatal(err)
	}
	e, logged := newExporter(t, text, withLoader(loader))
	e.ReloadIfChanged()
	if strings.Contains(logged.String(), "reload") {
		t.Errorf("reloaded without a change:\n%s", logged)
	}
	write(t, path, "users: [0, x]\napi: {token: x}\n")
	e.ReloadIfChanged()
	e.ReloadIfChanged()
	const failed = `msg="Error reloading configuration, keeping the previous one"`
	if got := strings.Count(logged.String(), failed); got != 1 {
		t.Errorf("got %d errors, want 1, in\n%s", got, logged)
	}
	if w := send(e, http.MethodPost, "/-/reload"); strings.Count(w.Body.String(), "\n"+path+":1: users[1].wmid: ") != 1 {
		t.Errorf("the response lacks a line for the second problem:\n%s", w.Body)
	}
	write(t, path, text)
	e.ReloadIfChanged()
	expectPage(t, e, "/metrics", "bilibili_exporter_config_last_reload_successful 1\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReloadStorm replaces files in every way of editors and Kubernetes, while they are reloaded for every reason.
func TestReloadStorm(t *testing.T) {
	api := newServer(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	base := strings.Replace(configFor(api.URL), "[1, 2, 3]", "[1]", 1) + "user_files: ['*.list']\n"
	write(t, at("b.yml"), base)
	loader := config.NewLoader(at("b.yml"))
	if _, err := loader.Load(); err != nil {
		t.Fatal(err)
	}
	e, _ := newExporter(t, base, withLoader(loader))
	replacements := []func(text string){
		func(text string) { write(t, at("a.list"), text) },
		func(text string) { write(t, at(".a.swp"), text); os.Rename(at(".a.swp"), at("a.list")) },  //nolint:errcheck // gap
		func(text string) { os.Rename(at("a.list"), at("a.list~")); write(t, at("a.list"), text) }, //nolint:errcheck // gap
		func(text string) { os.Remove(at("a.list")); write(t, at("a.list"), text[:5]) },            //nolint:errcheck // gap
		func(text string) {
			os.Mkdir(at("..new"), 0o700) //nolint:errcheck // may exist
			write(t, at("..new/a.list"), text)
			os.Symlink("..new/a.list", at("link")) //nolint:errcheck // may exist
			os.Rename(at("link"), at("a.list"))    //nolint:errcheck // gap
		},
		func(string) { os.Remove(at("b.yml")); write(t, at("b.yml"), base) }, //nolint:errcheck // gap
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, action := range []func(){
		e.ReloadIfChanged, e.ReloadIfChanged,
		func() { send(e, http.MethodPost, "/-/reload") },
		func() { expectPage(t, e, "/metrics", `bilibili_user_info{name="1",wmid="1"} 1`) },
	} {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					action()
				}
			}
		})
	}
	for i := range 120 {
		replacements[i%len(replacements)](strings.Repeat("# x\n", i) + "- 2\n- {wmid: 3}\n")
		time.Sleep(time.Millisecond)
	}
	close(stop)
	all.Wait()
	os.Remove(at("a.list")) //nolint:errcheck // a link that dangles
	write(t, at("a.list"), "- 4\n")
	e.ReloadIfChanged()
	expectPage(t, e, "/config", "wmid: 1\n", "wmid: 4\n", "!wmid: 2\n")
	expectPage(t, e, "/metrics", "bilibili_exporter_config_last_reload_successful 1\n")
}
