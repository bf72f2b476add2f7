package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }

func TestServe(t *testing.T) {
	api, file := exportertest.NewAPI(t, exportertest.Steady)
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if want := "\nbilibili_followers{wmid=\"472747194\"} 4.153991e+06\n"; !strings.Contains(body, want) {
		t.Errorf("/metrics lacks %s", want)
	}
	if got := api.Total().Requests; got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}
}

// TestFailedStarts checks that every failure at startup causes exit status 1 and one line of explanation.
func TestFailedStarts(t *testing.T) {
	t.Setenv(config.TokenVariable, "x")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	inUse := t.TempDir()
	exportertest.StartExporter(t, "--wmid=2", "--storage.path="+inUse)
	bad := exportertest.WriteFile(t, "bad.yml", "users:\n  - wmid: 2\n    nickname: x\n")
	good := exportertest.WriteFile(t, "good.yml", "users: [2]\n")
	noCA := exportertest.WriteFile(t, "no-ca.yml", "users: [2]\napi: {http_client: {tls_config: {ca_file: none.pem}}}\n")
	noToken := exportertest.WriteFile(t, "no-token.yml", "users: [2]\napi: {token_file: none}\n")
	badWeb := exportertest.WriteFile(t, "web.yml", "tls_server_config: {certificate: x}\n")

	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no configuration": {nil,
			`err="reading the configuration: stat bilibili_exporter.yml: no such file or directory; ` +
				`see examples/bilibili_exporter.yml for an example, or use --wmid"`},
		"no such file": {[]string{"--config.file=none.yml"},
			`err="reading the configuration: stat none.yml: no such file or directory"`},
		"bad file": {[]string{"--config.file=" + bad}, `err="` + bad + `:3: users[0].nickname: unknown field; ` +
			`valid fields: labels, min_interval, name, wmid"`},
		"bad file, checked": {[]string{"--config.check", "--config.file=" + bad}, `:3: users[0].nickname: unknown field`},
		"bad WMID": {[]string{"--wmid=abc"},
			`err="--wmid: invalid WMID \"abc\", want the number in https://space.bilibili.com/<wmid>"`},
		"file and WMID": {[]string{"--wmid=2", "--config.file=" + good},
			`bilibili_exporter: --wmid and --config.file are mutually exclusive; try --help`},
		"path and URL": {[]string{"--wmid=2", "--storage.path=x", "--storage.url=postgres://u:secret@h/d"},
			`bilibili_exporter: --storage.path and --storage.url are mutually exclusive; try --help`},
		"empty URL": {[]string{"--wmid=2", "--storage.url="},
			`bilibili_exporter: --storage.url is empty: want a URL, or no such flag for storage in --storage.path; try --help`},
		"empty namespace": {[]string{"--wmid=2", "--storage.url=postgres://h/d", "--storage.namespace="},
			`bilibili_exporter: --storage.namespace: want a name of at most 200 bytes; try --help`},
		"namespace without URL": {[]string{"--wmid=2", "--storage.path=/proc/nowhere", "--storage.namespace=y"},
			`bilibili_exporter: --storage.namespace needs --storage.url: it is a name in that database; try --help`},
		"URL after a space": {[]string{"--wmid=2", "--storage.url=", "postgres://u:secret@h/d"},
			`bilibili_exporter: unexpected argument that looks like a URL; try --help`},
		"unknown flag": {[]string{"--wmids=2"}, `bilibili_exporter: unknown long flag '--wmids'; try --help`},
		"argument":     {[]string{"2"}, `bilibili_exporter: unexpected 2; try --help`},
		"timeout offset": {[]string{"--wmid=2", "--timeout-offset=NaN"},
			`--timeout-offset: want a number of seconds from 0 to 3600, got \"NaN\"`},
		"max requests": {[]string{"--wmid=2", "--web.max-requests=0.5"},
			`--web.max-requests: want an integer of at least 0, got \"0.5\"`},
		"log level": {[]string{"--wmid=2", "--log.level=loud"},
			`bilibili_exporter: enum value must be one of debug,info,warn,error, got 'loud'; try --help`},
		"telemetry path": {[]string{"--wmid=2", "--web.telemetry-path=/-/healthy"},
			`err="--web.telemetry-path: \"/-/healthy\" is used by another page"`},
		"Grafana URL": {[]string{"--wmid=2", "--web.grafana-url=grafana"},
			`err="--web.grafana-url: want a URL such as https://grafana.example.org, without password and query"`},
		"certificate missing": {[]string{"--config.file=" + noCA}, `none.pem: no such file or directory`},
		"web configuration": {[]string{"--wmid=2", "--web.config.file=" + badWeb}, `err="--web.config.file: ` + badWeb +
			`: yaml: unmarshal errors: line 1: field certificate not found in type `},
		"no token": {[]string{"--config.file=" + noToken}, `err="` + noToken + `:2: api.token_file: `},
		"reload of users": {[]string{"--wmid=2", "--config.auto-reload-interval=1m"},
			`--wmid and --config.auto-reload-interval are mutually exclusive`},
		"reload interval": {[]string{"--config.file=" + good, "--config.auto-reload-interval=1"},
			`--config.auto-reload-interval: want a duration such as 30s, or 0s, got \"1\"`},
		"storage path": {[]string{"--wmid=2", "--storage.path=/proc/nowhere"},
			`err="--storage.path: opening the store in /proc/nowhere: mkdir /proc/nowhere: no such file or directory"`},
		"storage in use": {[]string{"--wmid=2", "--storage.path=" + inUse},
			`err="--storage.path: opening the store in ` + inUse + `: it is in use by another process: ` +
				`run one exporter for each token, each with a directory of its own"`},
		"address in use": {[]string{"--wmid=2", "--web.listen-address=" + busy.Addr().String()},
			`err="--web.listen-address: listen tcp ` + busy.Addr().String() + `: bind: address already in use"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := exportertest.Run(t, append(test.args, "--log.level=error")...)
			if name == "log level" {
				status, stdout, stderr = exportertest.Run(t, test.args...)
			}
			if status != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got status %d, output %q and errors\n%s\nwant status 1 and one line with\n%s",
					status, stdout, stderr, test.want)
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	t.Setenv(config.TokenVariable, "x")
	example, err := filepath.Abs("examples/bilibili_exporter.yml")
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := exportertest.Run(t, "--config.check", "--config.file="+example)
	if status != 0 || !strings.Contains(stderr, `msg="Configuration is valid"`) ||
		!strings.Contains(stderr, " requests_per_day=120 ") {
		t.Errorf("got status %d and\n%s", status, stderr)
	}
}

// TestConfigCheckErrors checks that a check prints each problem on a line of its own, without anything before it.
func TestConfigCheckErrors(t *testing.T) {
	file := exportertest.WriteFile(t, "b.yml",
		"api: {token: x, timeout: 1}\nusers: [0]\nuser_files: [none.yml, \"[\"]\n")
	missing := filepath.Join(filepath.Dir(file), "none.yml")
	status, stdout, stderr := exportertest.Run(t, "--config.check", "--config.file="+file)
	want := file + ":1: api.timeout: want a duration such as 15m or 1d, got \"1\"; add a unit, for example 1s\n" +
		file + ":2: users[0].wmid: invalid WMID \"0\", want the number in https://space.bilibili.com/<wmid>\n" +
		file + ":3: user_files[0]: " + missing + ": no such file or directory\n" +
		file + ":3: user_files[1]: invalid pattern: a [ is not closed\n"
	if status != 1 || stdout != "" || stderr != want {
		t.Errorf("got status %d, output %q and errors\n%s\nwant\n%s", status, stdout, stderr, want)
	}
}

// TestConfigFromPipe reads the configuration from standard input. A reload reads the user files again.
func TestConfigFromPipe(t *testing.T) {
	api, file := exportertest.NewAPI(t, exportertest.Steady)
	users := exportertest.WriteFile(t, "users.yml", "- 2\n")
	cmd := exportertest.Command("--config.file=/dev/stdin", "--web.listen-address=127.0.0.1:0", "--storage.path=",
		"--config.auto-reload-interval=50ms")
	cmd.Stdin = io.MultiReader(strings.NewReader(exportertest.ReadFile(t, file)),
		strings.NewReader("user_files: ["+users+"]\n"))
	p := exportertest.Start(t, cmd)
	address := p.Await(`msg="Listening on" address=(\S+)`)
	p.Await(`warning="(/dev/stdin is a pipe, which can be read only once)`)
	exportertest.Replace(t, users, "- 2", "- 3")
	p.Await(`msg="(Configuration reloaded)"`)
	exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if got := api.Tally(3).Requests; got != 1 {
		t.Errorf("got %d requests for the new user, want 1", got)
	}
}

func TestVersion(t *testing.T) {
	status, stdout, _ := exportertest.Run(t, "--version")
	if status != 0 || !strings.HasPrefix(stdout, "bilibili_exporter, version ") || strings.Contains(stdout, "version  ") {
		t.Errorf("got status %d and %q", status, stdout)
	}
	stamped := filepath.Join(t.TempDir(), program)
	const flags = "-X github.com/prometheus/common/version.Version=1.2.3 " +
		"-X github.com/prometheus/common/version.Revision=abc"
	if out, err := exec.Command("go", "build", "-o", stamped, "-ldflags", flags, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(stamped, "--version").Output()
	want := "bilibili_exporter, version 1.2.3 (branch: , revision: abc)"
	if err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}

// TestShutdown stops the process during a request that its scrape no longer waits for. The shutdown waits for the
// request, records it, and the exit status is 0.
func TestShutdown(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			api, file := exportertest.NewAPI(t, justoneapitest.Latency(2*time.Second, exportertest.Steady))
			args := []string{"--config.file=" + file, "--storage.path=" + t.TempDir(), "--log.level=debug"}
			p, address := exportertest.StartExporter(t, args...)
			scrapeUntil(t, address, "\nbilibili_api_requests_in_flight 1\n")
			status, took := p.End(signal)
			if status != 0 || took < 500*time.Millisecond || took > 10*time.Second {
				t.Errorf("got status %d after %v", status, took)
			}
			expectLog(t, p, `msg="Shutting down" signal=`+signal.String(),
				`msg="Waiting for in-flight requests" requests=1 timeout=1m0s`, `msg="Fetched user" followers=4153991`,
				"msg=Stopped")

			p, address = exportertest.StartExporter(t, args...)
			body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
			if got := api.Total(); got != (justoneapitest.Tally{Requests: 1, Billed: 1}) ||
				!strings.Contains(body, "\nbilibili_followers{wmid=\"472747194\"} 4.153991e+06\n") {
				t.Errorf("after a restart: got %+v in all, or the value is lost", got)
			}
			status, took = p.End(signal)
			if status != 0 || took > 2*time.Second || strings.Contains(p.Log(), "Waiting for in-flight requests") {
				t.Errorf("without a request in flight: got status %d after %v", status, took)
			}
			expectLog(t, p, `msg="Shutting down"`, "msg=Stopped")
		})
	}
}

// TestSecondSignal stops the process twice during a request that hangs. The second signal cancels the request, and
// nothing that is known is lost.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	api, file := exportertest.NewAPI(t, justoneapitest.Hang())
	api.Set(2, exportertest.Steady)
	exportertest.Replace(t, file, "users: [", "users: [2, ")
	args := []string{"--config.file=" + file, "--storage.path=" + t.TempDir()}
	p, address := exportertest.StartExporter(t, args...)
	scrapeUntil(t, address, "\nbilibili_api_requests_in_flight 1\n", "\nbilibili_followers{wmid=\"2\"} 4.153991e+06\n")
	p.Signal(syscall.SIGTERM)
	p.Await(`(msg="Waiting for in-flight requests" requests=1 )`)
	if status, took := p.End(syscall.SIGINT); status != 0 || took > 2*time.Second {
		t.Errorf("got status %d after %v", status, took)
	}
	expectLog(t, p, `name=472747194 msg="Request canceled by shutdown; it may have been billed"`, "msg=Stopped")

	p, address = exportertest.StartExporter(t, args...)
	expectLog(t, p, `msg="Requests were interrupted when the exporter last stopped" requests=1`)
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if got := api.Total().Requests; got != 2 || !strings.Contains(body, "\nbilibili_quota_used 2\n") ||
		!strings.Contains(body, "\nbilibili_followers{wmid=\"2\"} 4.153991e+06\n") {
		t.Errorf("after a restart: got %d requests in all, want 2, and\n%s", got, body)
	}
}

// TestSignalDuringStartup stops the process while it reads a named pipe that nobody writes to. A check of the
// configuration that did not finish has not succeeded.
func TestSignalDuringStartup(t *testing.T) {
	t.Setenv(config.TokenVariable, "x")
	for _, test := range []struct {
		status int
		log    string
		args   []string
	}{
		{0, "msg=Stopped signal=terminated", nil},
		{1, `err="stopped by signal: terminated"`, []string{"--config.check"}},
	} {
		pipe := filepath.Join(t.TempDir(), "web.yml")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		p := exportertest.Start(t, exportertest.Command(append(test.args, "--wmid=2", "--web.config.file="+pipe)...))
		writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns once the exporter reads
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		if status, took := p.End(syscall.SIGTERM); status != test.status || took > 2*time.Second {
			t.Errorf("%q: got status %d after %v, want %d", test.args, status, took, test.status)
		}
		expectLog(t, p, test.log)
	}
}

// TestEarliestSignal checks that signals are received as soon as Go can: before any package is initialized that could
// be later.
func TestEarliestSignal(t *testing.T) {
	cmd := exportertest.Command("--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	var initialized []string
	for _, match := range regexp.MustCompile(`(?m)^init (\S+) @`).FindAllStringSubmatch(string(out), -1) {
		initialized = append(initialized, match[1])
	}
	const signals = "github.com/bilibili-exporter/bilibili_exporter/internal/signals"
	after := slices.Index(initialized, "os/signal") + 1
	if after == 0 || after == len(initialized) || initialized[after] != signals {
		t.Errorf("want %s right after os/signal in %q", signals, initialized)
	}
}

// scrapeUntil scrapes, with a timeout of half a second, until the metrics contain all texts.
func scrapeUntil(t *testing.T, address string, texts ...string) {
	t.Helper()
	client := &http.Client{Transport: exportertest.ScrapeTransport(500 * time.Millisecond)}
	for end := time.Now().Add(10 * time.Second); ; {
		body := exportertest.Get(t, client, "http://"+address+"/metrics")
		missing := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(body, text) })
		if missing < 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q is missing in\n%s", texts[missing], body)
		}
	}
}

// expectLog checks that the log of a process contains texts, in this order.
func expectLog(t *testing.T, p *exportertest.Process, texts ...string) {
	t.Helper()
	rest := p.Log()
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Errorf("the log lacks %s in the expected place:\n%s", text, p.Log())
			return
		}
		rest = after
	}
}

// TestUnsolicitedResponse has a server that sends the token before it gets a request. net/http would log that.
func TestUnsolicitedResponse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "220 hello, token=%s\r\n", justoneapitest.Token)
			time.Sleep(100 * time.Millisecond)
			conn.Close()
		}
	}()
	file := exportertest.WriteFile(t, "b.yml",
		"api: {base_url: 'http://"+listener.Addr().String()+"', token: "+justoneapitest.Token+"}\nusers: [1]\n")
	p, address := exportertest.StartExporter(t, "--config.file="+file, "--log.level=debug")
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if !strings.Contains(body, `upstream_error_code{code="network"} 1`) {
		t.Errorf("want a network error in\n%s", body)
	}
	p.End(syscall.SIGTERM)
	if strings.Contains(p.Log(), justoneapitest.Token) {
		t.Errorf("the log shows the token:\n%s", p.Log())
	}
}

// TestReloadWithoutFile checks that SIGHUP with --wmid is explained.
func TestReloadWithoutFile(t *testing.T) {
	t.Setenv(config.TokenVariable, "x")
	p, _ := exportertest.StartExporter(t, "--wmid=2")
	p.Signal(syscall.SIGHUP)
	p.Await(`level=info \S+ \S+ msg="(Nothing to reload, because no configuration file is used)" advice="To change users`)

	web := exportertest.WriteFile(t, "web.yml", "tls_server_config: {}\n")
	p = exportertest.Start(t, exportertest.Command("--wmid=2", "--web.config.file="+web,
		"--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir()))
	p.Address()
	exportertest.Replace(t, web, "{}", "")
	p.Signal(syscall.SIGHUP)
	p.Await(`msg="(Configuration reloaded)"`)
	exportertest.Replace(t, web, "tls_server_config", "certificate")
	p.Signal(syscall.SIGHUP)
	p.Await(`msg="(Error reloading configuration), [^"]*" err="--web.config.file: `)
}

// TestReload checks that SIGHUP reloads, and that neither an invalid configuration nor SIGPIPE stops the process.
func TestReload(t *testing.T) {
	api, file := exportertest.NewAPI(t, exportertest.Steady)
	p, address := exportertest.StartExporter(t, "--config.file="+file)
	exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	rewrite := func(old, changed string) {
		t.Helper()
		exportertest.Replace(t, file, old, changed)
		p.Signal(syscall.SIGHUP)
	}
	rewrite("[472747194]", "[472747194, 2]")
	p.Await(`msg="(Configuration reloaded)"`)
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if !strings.Contains(body, `bilibili_up{wmid="2"} 1`) || !strings.Contains(body, `bilibili_up{wmid="472747194"} 1`) ||
		api.Total().Requests != 2 {
		t.Errorf("got %+v and\n%s", api.Total(), body)
	}
	rewrite("users", "user")
	p.Await(`msg="Error reloading configuration, keeping the previous one" err="` + file + `:2: (user: unknown field)`)
	p.Signal(syscall.SIGPIPE)
	body = exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if !strings.Contains(body, "config_last_reload_successful 0") {
		t.Errorf("the failure is not exposed:\n%s", body)
	}
	if status, _ := p.End(syscall.SIGTERM); status != 0 {
		t.Errorf("got status %d", status)
	}
}

var (
	// firstKeys matches the start of a line in logfmt.
	firstKeys = regexp.MustCompile(`^level=\w+ ts=20\S+ caller=\w+\.go:\d+ (\S+=\S+ )*?msg=`)
	// sortedKeys matches a line in JSON.
	sortedKeys = regexp.MustCompile(`^\{.*"caller":.*"level":.*"msg":.*"ts":`)
)

// TestLogLines checks that every line has one level, ts, caller and msg, in this order, also those of the web toolkit.
// Requests have keys of their own before msg. In JSON, go-kit sorts the keys.
func TestLogLines(t *testing.T) {
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	p, address := exportertest.StartExporter(t, "--config.file="+file, "--log.level=debug")
	exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	p.End(syscall.SIGTERM)
	for line := range strings.Lines(p.Log()) {
		for _, key := range []string{"ts=20", "level=", "caller=", "msg="} {
			if strings.Count(line, key) != 1 || strings.Contains(line, " time=") || !firstKeys.MatchString(line) {
				t.Errorf("want one %s at its place and no time= in %s", key, line)
			}
		}
	}
	for _, caller := range []string{"caller=usage.go:", "caller=main.go:", "caller=tls_config.go:", "caller=log.go:"} {
		if !strings.Contains(p.Log(), caller) {
			t.Errorf("no line with %s in\n%s", caller, p.Log())
		}
	}

	j := exportertest.Start(t, exportertest.Command("--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir(),
		"--config.file="+file, "--log.format=json"))
	j.Await(`"msg":"(Listening on)"`)
	j.End(syscall.SIGTERM)
	for line := range strings.Lines(j.Log()) {
		var fields map[string]any
		err := json.Unmarshal([]byte(line), &fields)
		for _, key := range []string{"ts", "level", "caller", "msg"} {
			if err != nil || fields[key] == nil {
				t.Errorf("%v, want %s in %s", err, key, line)
			}
		}
		if !sortedKeys.MatchString(line) {
			t.Errorf("want sorted keys in %s", line)
		}
	}
}

// TestWebConfig enables TLS and basic authentication.
func TestWebConfig(t *testing.T) {
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	ca := exportertest.NewAuthority(t)
	web := filepath.Join(ca.Issue(t), "web.yml")
	// The password is "test".
	text := "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n" +
		"basic_auth_users: {prometheus: $2a$04$l1Do3.lwMGeri8Yb14V2vuiQ897z4v9dw8viEOzOfLPF/XcN3HLnq}\n"
	if err := os.WriteFile(web, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+web)

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(exportertest.ReadFile(t, ca.File)))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	body := exportertest.Get(t, client, "https://prometheus:test@"+address+"/metrics")
	if !strings.Contains(body, "bilibili_followers{") {
		t.Error("/metrics lacks bilibili_followers")
	}
	resp, err := client.Get("https://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: got status %d, want 401", resp.StatusCode)
	}
}

// TestServerLog checks that the errors of clients, which net/http logs, are well-formed and rate-limited.
func TestServerLog(t *testing.T) {
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	dir := exportertest.NewAuthority(t).Issue(t)
	web := exportertest.WriteFile(t, "web.yml",
		fmt.Sprintf("tls_server_config: {cert_file: %s/cert.pem, key_file: %[1]s/key.pem}", dir))
	p, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+web)
	for range 100 {
		for _, sent := range []string{"no TLS at all\r\n\r\n", ""} { // the other one only checks whether the port is open
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, sent)
			conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the exporter may have disconnected
			io.Copy(io.Discard, conn)        //nolint:errcheck // until the exporter disconnects
			conn.Close()
		}
	}
	if strings.Contains(p.Log(), ": EOF") {
		t.Errorf("probes of the port fill the log:\n%s", p.Log())
	}
	p.Await(`level=warn ts=\S+ caller=log.go:\d+ msg="HTTP server error" err="(http: TLS handshake error)`)
	if got := strings.Count(p.Log(), "TLS handshake error"); got > 15 {
		t.Errorf("got %d lines for 100 clients", got)
	}
}

// TestServerLimits sends headers that never end, or that are too long.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	for name, test := range map[string]struct{ sent, want string }{
		"slow headers": {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"huge headers": {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read below would fail
			fmt.Fprint(conn, test.sent)
			response, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(string(response), test.want) {
				t.Errorf("got %q, %v; want a response within 20 s that starts with %q", response, err, test.want)
			}
		})
	}
}

// TestSocketActivation passes a listening socket, as systemd does.
func TestSocketActivation(t *testing.T) {
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exportertest.Command("--web.systemd-socket", "--storage.path="+t.TempDir(), "--config.file="+file)
	cmd.Args = append([]string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{socket}
	exportertest.Start(t, cmd).Await(`msg="Listening on" address=(\S+)`)
	body := exportertest.Get(t, http.DefaultClient, "http://"+listener.Addr().String()+"/metrics")
	if !strings.Contains(body, "bilibili_followers{") {
		t.Error("/metrics lacks bilibili_followers")
	}
}
