package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer collects a log. It is safe for concurrent use.
type buffer struct {
	mu   sync.Mutex // protects the following field
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newServer(t *testing.T) *justoneapitest.Server {
	t.Helper()
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	api.SetAll(justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	return api
}

// configFor returns a configuration for three users of the API at base, with more lines for its section api.
func configFor(base string, apiLines ...string) string {
	return "api:\n  base_url: " + base + "\n  token: " + justoneapitest.Token + "\n" +
		"  max_requests_per_second: 1000\n" + strings.Join(apiLines, "") + "users: [1, 2, 3]\n"
}

// newExporter returns an exporter and its log.
func newExporter(t testing.TB, text string, change ...func(*server.Options)) (*server.Exporter, *buffer) {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(t.TempDir(), "b.yml"), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	logged := &buffer{}
	options := server.Options{
		Logger: log.NewLogfmtLogger(logged), TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond,
	}
	for _, change := range change {
		change(&options)
	}
	e, err := server.New(cfg, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		e.Close(ctx)
	})
	return e, logged
}

// send sends a request to a handler. Headers are alternately keys and values.
func send(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

func TestScrape(t *testing.T) {
	api := newServer(t)
	e, _ := newExporter(t, configFor(api.URL))
	w := send(e, http.MethodGet, "/metrics")
	for _, want := range []string{
		`bilibili_followers{wmid="2"} 4.153991e+06`, `bilibili_following{wmid="2"} 11`, `bilibili_up{wmid="3"} 1`,
		`upstream_error_code{code="301"} 0`, "bilibili_api_requests_total 3", "bilibili_exporter_build_info{",
		"go_goroutines ", "process_start_time_seconds ", `promhttp_metric_handler_requests_total{code="200"} `,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("got status %d, header %v", w.Code, w.Header())
	}
	send(e, http.MethodGet, "/metrics")
	if got := api.Total(); got != (justoneapitest.Tally{Requests: 3, Billed: 3}) {
		t.Errorf("got %+v for two scrapes of three users", got)
	}
}

// TestOnlyScrapesRequest sends everything but a scrape.
func TestOnlyScrapesRequest(t *testing.T) {
	api := newServer(t)
	e, _ := newExporter(t, configFor(api.URL))
	for _, request := range []struct {
		method, target string
		status         int
	}{
		{"HEAD", "/metrics", 200}, {"POST", "/metrics", 405}, {"PUT", "/metrics", 405}, {"OPTIONS", "/metrics", 405},
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"POST", "/", 405}, {"GET", "/-/healthy", 200}, {"GET", "/-/ready", 200},
		{"GET", "/metrics/", 404}, {"GET", "/metric", 404}, {"GET", "/favicon.ico", 404}, {"GET", "/debug/pprof/", 404},
		{"GET", "/debug/vars", 404}, {"GET", "/debug/requests", 404}, {"GET", "/-/reload", 403},
		{"POST", "/-/reload", 403}, {"GET", "/config", 200}, {"POST", "/config", 405}, {"GET", "/-/quit", 404},
		{"GET", "/index.html", 404},
	} {
		w := send(e, request.method, request.target)
		if w.Code != request.status {
			t.Errorf("%s %s: got status %d, want %d", request.method, request.target, w.Code, request.status)
		}
	}
	if got := api.Total().Requests; got != 0 {
		t.Errorf("got %d requests", got)
	}
}

// TestDeadline scrapes with short timeouts while the API hangs.
func TestDeadline(t *testing.T) {
	api := newServer(t)
	api.SetAll(justoneapitest.Hang())
	e, _ := newExporter(t, configFor(api.URL))
	for i, timeout := range []float64{0.6, 0.6, 0.2} {
		start := time.Now()
		w := send(e, http.MethodGet, "/metrics", timeoutHeader, fmt.Sprint(timeout))
		took := time.Since(start).Seconds()
		if w.Code != http.StatusOK || took > timeout {
			t.Errorf("scrape %d: got status %d after %.3f s, want 200 within %v s", i, w.Code, took, timeout)
		}
		if i == 0 && took < 0.3 {
			t.Errorf("the first scrape did not wait: %.3f s", took)
		}
	}
}

func TestMaxRequests(t *testing.T) {
	api := newServer(t)
	api.SetAll(justoneapitest.Hang())
	e, logged := newExporter(t, configFor(api.URL), func(o *server.Options) { o.MaxRequests = 1 })
	var first sync.WaitGroup
	first.Go(func() { send(e, http.MethodGet, "/metrics", timeoutHeader, "2") })
	defer first.Wait()
	for api.Total().Requests == 0 { // until the first scrape has taken the only slot
		time.Sleep(time.Millisecond)
	}
	w := send(e, http.MethodGet, "/metrics")
	want := "Limit of concurrent requests reached (--web.max-requests=1), try again later.\n"
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != want {
		t.Errorf("got status %d and %q, want 503 and %q", w.Code, w.Body.String(), want)
	}
	want = `level=warn msg="Scrapes rejected, because there are too many at a time" max_requests=1 advice=`
	if !strings.Contains(logged.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, logged)
	}
}

// TestMaxRequestsOfPages checks that other pages have their own limit: slow clients there do not block scrapes.
func TestMaxRequestsOfPages(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL), func(o *server.Options) { o.MaxRequests = 1 })
	reading, read := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), reading: reading, read: read}
		e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	})
	<-reading
	for target, want := range map[string]int{"/": 503, "/config": 503, "/-/healthy": 200, "/metrics": 200} {
		if got := send(e, http.MethodGet, target).Code; got != want {
			t.Errorf("%s: got status %d, want %d", target, got, want)
		}
	}
	close(read)
	first.Wait()
}

// slowWriter is a client that does not read until it is released.
type slowWriter struct {
	*httptest.ResponseRecorder
	reading, read chan struct{}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	close(w.reading)
	<-w.read
	return w.ResponseRecorder.Write(p)
}

func TestDisableExporterMetrics(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL), func(o *server.Options) { o.DisableExporterMetrics = true })
	body := send(e, http.MethodGet, "/metrics").Body.String()
	for line := range strings.Lines(body) {
		if !regexp.MustCompile(`^(# (HELP|TYPE) )?(bilibili_|upstream_error_code[ {])`).MatchString(line) {
			t.Errorf("unexpected: %s", line)
		}
	}
	if !strings.Contains(body, "bilibili_exporter_build_info") {
		t.Error("bilibili_exporter_build_info is missing")
	}
}

func TestTelemetryPath(t *testing.T) {
	cfg, err := config.Parse("b.yml", strings.NewReader(configFor("http://127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/":          `--web.telemetry-path: "/" is used by another page`,
		"/config":    `--web.telemetry-path: "/config" is used by another page`,
		"/-/ready":   `--web.telemetry-path: "/-/ready" is used by another page`,
		"/-":         `--web.telemetry-path: "/-" is used by another page`,
		"metrics":    `--web.telemetry-path: "metrics" is not a plain path such as /metrics`,
		"":           `--web.telemetry-path: "" is not a plain path such as /metrics`,
		"/metrics/":  `--web.telemetry-path: "/metrics/" is not a plain path such as /metrics`,
		"/{x}":       `--web.telemetry-path: "/{x}" is not a plain path such as /metrics`,
		"/a/../b":    `--web.telemetry-path: "/a/../b" is not a plain path such as /metrics`,
		"/deep/down": "",
		"/a:b":       "",
	} {
		e, err := server.New(cfg, server.Options{Logger: log.NewNopLogger(), TelemetryPath: path})
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
		if err == nil && path == "/deep/down" {
			expectPage(t, e, "/", `href="./deep/down"`)
		}
	}
}

func TestGrafanaURL(t *testing.T) {
	cfg, err := config.Parse("b.yml", strings.NewReader(configFor("http://127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	const want = "--web.grafana-url: want a URL such as https://grafana.example.org, without password and query"
	for address, valid := range map[string]bool{
		"": true, "http://10.0.0.1:3000": true, "https://example.org/grafana/": true,
		"grafana.example.org": false, "javascript:alert(1)": false, "https://": false, "https://u:secret@example.org": false,
		"https://example.org/?a": false, "https://example.org/#a": false, "https://exa mple.org": false,
	} {
		e, err := server.New(cfg, server.Options{
			Logger: log.NewNopLogger(), TelemetryPath: "/metrics", GrafanaURL: address,
		})
		if (err == nil) != valid || err != nil && err.Error() != want {
			t.Errorf("%q: got %v", address, err)
		}
		if err == nil && address != "" {
			link := strings.TrimSuffix(address, "/") + "/d/bilibili-exporter"
			expectPage(t, e, "/", `<a href="`+link+`" rel="noopener noreferrer">Grafana: exporter</a>`)
		}
	}
}

// TestChinesePage checks that a browser that prefers Chinese gets the status page in Chinese.
func TestChinesePage(t *testing.T) {
	e, _ := newExporter(t, configFor("http://127.0.0.1:1"))
	body := send(e, http.MethodGet, "/", "Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8").Body.String()
	if want := "等待首次抓取"; !strings.Contains(body, want) {
		t.Errorf("want %s in\n%s", want, body)
	}
	expectPage(t, e, "/", "Waiting for the first scrape")
	expectPage(t, e, "/?lang=zh", "等待首次抓取")
}

// TestQueue checks the time that the status page expects requests to take: 3 s each at first, later as measured.
func TestQueue(t *testing.T) {
	text := configFor(newServer(t).URL, "  max_concurrency: 1\n") + "quota: {min_interval: 1ms}\n"
	e, _ := newExporter(t, text)
	expectPage(t, e, "/", "Queue: 3 users due. The requests take about 9\u00a0s.")
	send(e, http.MethodGet, "/metrics")
	time.Sleep(2 * time.Millisecond)
	expectPage(t, e, "/", "Queue: 3 users due. The requests take about 1\u00a0s.")
}

// TestHeaders checks the headers for security of every page.
func TestHeaders(t *testing.T) {
	e, _ := newExporter(t, configFor("http://127.0.0.1:1"))
	for _, surface := range surfaces {
		h := send(e, surface.method, surface.target).Header()
		want := "default-src 'none'; frame-ancestors 'none'"
		if surface.pattern == "GET /{$}" {
			want = status.Policy
		}
		if got := h.Get("Content-Security-Policy"); got != want || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: got %v, want the policy %s", surface.target, h, want)
		}
	}
}

// TestStatusPageLinks follows the links of the page. Those to other pages of the exporter must be relative, exist and
// make no API requests.
func TestStatusPageLinks(t *testing.T) {
	api := newServer(t)
	e, _ := newExporter(t, configFor(api.URL))
	body := send(e, http.MethodGet, "/").Body.String()
	var own int
	for _, link := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		target := html.UnescapeString(link[1])
		if strings.HasPrefix(target, "https://space.bilibili.com/") || strings.HasPrefix(target, "https://github.com/") ||
			target == "data:," {
			continue
		}
		own++
		if strings.HasPrefix(target, "/") || strings.Contains(target, ":") || strings.Contains(target, "#") {
			t.Errorf("link %s is not relative", target)
		}
		if w := send(e, http.MethodHead, "/"+strings.TrimPrefix(target, "./")); w.Code != http.StatusOK {
			t.Errorf("link %s: got status %d", target, w.Code)
		}
	}
	if own < 10 || api.Total().Requests != 0 {
		t.Errorf("got %d links and %d requests", own, api.Total().Requests)
	}
}

func TestReadiness(t *testing.T) {
	api := newServer(t)
	api.SetAll(justoneapitest.Code(500, "")) // the API's health does not count
	e, _ := newExporter(t, configFor(api.URL))
	send(e, http.MethodGet, "/metrics")
	if w := send(e, http.MethodGet, "/-/ready"); w.Code != http.StatusOK {
		t.Errorf("got status %d, want 200", w.Code)
	}
	e.Close(t.Context())
	if w := send(e, http.MethodGet, "/-/ready"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("when closed: got status %d, want 503", w.Code)
	}
	if w := send(e, http.MethodGet, "/-/healthy"); w.Code != http.StatusOK {
		t.Errorf("when closed: /-/healthy: got status %d, want 200", w.Code)
	}
}

// surfaces are requests for everything that a client can see. TestNoTokenLeaks looks for the token there. New pages
// must be added.
var surfaces = []struct{ pattern, method, target string }{
	{"GET /metrics", "GET", "/metrics"},
	{"GET /{$}", "GET", "/"},
	{"GET /{$}", "GET", "/?q=%3Cscript%3E&sort=error&state=failing"},
	{"GET /config", "GET", "/config"},
	{"GET /-/healthy", "GET", "/-/healthy"},
	{"GET /-/ready", "GET", "/-/ready"},
	{"POST /-/reload", "POST", "/-/reload"},
	{"", "GET", "/-/reload"},
	{"", "GET", "/nothing-here"},
	{"", "OPTIONS", "/metrics"},
}

// TestSurfacesAreComplete fails if a page is missing.
func TestSurfacesAreComplete(t *testing.T) {
	e, _ := newExporter(t, configFor("http://127.0.0.1:1"), func(o *server.Options) { o.EnableLifecycle = true })
	for _, pattern := range e.Patterns() {
		listed := func(s struct{ pattern, method, target string }) bool { return s.pattern == pattern }
		if !slices.ContainsFunc(surfaces, listed) {
			t.Errorf("add the page %s to surfaces, so that TestNoTokenLeaks covers it", pattern)
		}
	}
}

// badReloads are invalid configurations, with the token in odd places.
var badReloads = []string{
	"users: [1]\napi: {token: '" + justoneapitest.Token + " x'}",
	"users: [1]\napi: {token:" + justoneapitest.Token + "}",
	"users: [1]\napi: " + justoneapitest.Token,
	"users: [1]\napi: {token: *" + justoneapitest.Token + "}",
	"users: [" + justoneapitest.Token + "]",
	"users: [1]\napi: {token: " + justoneapitest.Token + ", " +
		"http_client: {proxy_url: 'http://u:" + justoneapitest.Token + "@:x'}}",
	"users: [1]\napi: {token: [" + justoneapitest.Token + "]}",
	"users: [1]\napi: {token: " + justoneapitest.Token + ", token_file: " + "x}",
}

// TestNoTokenLeaks causes every failure that the stand-in server knows, and those of the network, and looks for the
// token on every page, in every header, in the log at every level, and on disk.
func TestNoTokenLeaks(t *testing.T) {
	type scenario struct{ name, config string }
	api := func(response justoneapitest.Response) string {
		s := newServer(t)
		s.SetAll(response)
		s.SetBalance(func(x *justoneapitest.Exchange) {
			fmt.Fprintf(x.ResponseWriter, `{"code":500,"message":"no balance for %s"}`, x.URL)
		})
		return configFor(s.URL, "  timeout: 300ms\n  balance_interval: 1h\n")
	}
	closed := justoneapitest.NewServer()
	closed.Close()
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsServer.Close()
	refusingProxy := httptest.NewServer(http.NotFoundHandler())
	defer refusingProxy.Close()
	scenarios := []scenario{
		{"connection refused", configFor(closed.URL)},
		{"untrusted certificate", configFor(tlsServer.URL)},
		{"proxy down", configFor("http://host.invalid", "  http_client: {proxy_url: '"+closed.URL+"'}\n")},
		{"proxy down, https", configFor("https://host.invalid", "  http_client: {proxy_url: '"+closed.URL+"'}\n")},
		{"proxy refuses", configFor("https://host.invalid", "  http_client: {proxy_url: '"+refusingProxy.URL+"'}\n")},
	}
	for _, fault := range justoneapitest.Faults() {
		scenarios = append(scenarios, scenario{fault.Name, api(fault.Response)})
	}
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			withStore := func(o *server.Options) { o.StoragePath = dir }
			bad := badReloads[i%len(badReloads)]
			e, logged := newExporter(t, s.config, withStore, withReload(t, func() string { return bad }))
			lookFor := func(where, text string) {
				t.Helper()
				if strings.Contains(text, justoneapitest.Token) {
					t.Errorf("%s shows the token:\n%s", where, text)
				}
			}
			for _, surface := range append(surfaces, surfaces...) { // again, after the reload
				w := send(e, surface.method, surface.target)
				lookFor(surface.target, fmt.Sprint(w.Header(), w.Body))
			}
			e.Close(t.Context())
			lookFor("the log", logged.String())
			messages := []string{"Error fetching user", "Error reloading configuration"}
			if strings.Contains(s.config, "balance_interval") {
				messages = append(messages, "Error fetching account balance")
			}
			for _, message := range messages {
				if !strings.Contains(logged.String(), message) {
					t.Errorf("the log lacks %s:\n%s", message, logged)
				}
			}
			state, err := os.ReadFile(filepath.Join(dir, "state.db"))
			if err != nil || !bytes.Contains(state, []byte(`"code":`)) {
				t.Fatalf("%v, or no failure was kept", err)
			}
			lookFor("the disk", string(state))
		})
	}
}

// TestRefusingProxy uses a proxy with a password that refuses to connect to the API: the log and the page name it,
// without the password.
func TestRefusingProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	const password = "proxy-passw0rd"
	proxyURL := strings.Replace(proxy.URL, "http://", "http://u:"+password+"@", 1)
	e, logged := newExporter(t, configFor("https://host.invalid", "  http_client: {proxy_url: '"+proxyURL+"'}\n"))
	expectPage(t, e, "/metrics", `upstream_error_code{code="network"} 3`, "!"+password)
	want := "network: connection failed: proxy " + proxy.Listener.Addr().String() +
		" refused to connect to the API: Proxy Authentication Required"
	advice := "A proxy that refuses must allow connections to it; its user and password are in api.http_client.proxy_url."
	expectPage(t, e, "/", want, advice, "!"+password)
	line := `code=network err="` + want + `" billed=no advice="Check name resolution, firewall, proxy and certificates ` +
		"between the exporter and api.base_url. " + advice
	if got := logged.String(); !strings.Contains(got, line) || strings.Contains(got, password) {
		t.Errorf("got\n%s\nwant a line with\n%s", got, line)
	}
}

// TestTokenFile rotates, removes and restores the token file.
func TestTokenFile(t *testing.T) {
	api := newServer(t)
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old-token\n")
	text := "api: {base_url: '" + api.URL + "', token_file: " + path + "}\nquota: {min_interval: 1ms}\nusers: [1]\n"
	e, logged := newExporter(t, text)
	scrape := func(want string) {
		t.Helper()
		time.Sleep(2 * time.Millisecond)
		if body := send(e, http.MethodGet, "/metrics").Body.String(); !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	scrape(`bilibili_last_error_info{code="100",wmid="1"} 1`)
	write(justoneapitest.Token)
	scrape(`bilibili_up{wmid="1"} 1`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	scrape(`bilibili_up{wmid="1"} 1`)
	expectPage(t, e, "/", ", and the last valid one is used: api.token_file: stat "+path)
	scrape(`bilibili_up{wmid="1"} 1`)
	write(justoneapitest.Token)
	scrape(`bilibili_up{wmid="1"} 1`)
	expectPage(t, e, "/", "!Reading the token has failed")
	for _, message := range []string{"Token changed", "Error reading the token", "Token readable again"} {
		if got := strings.Count(logged.String(), message); got != 1 {
			t.Errorf("got %q %d times in the log, want once:\n%s", message, got, logged)
		}
	}
}

func TestNoTokenFile(t *testing.T) {
	cfg, err := config.Parse("b.yml", strings.NewReader("api: {token_file: /does/not/exist}\nusers: [1]\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.New(cfg, server.Options{Logger: log.NewNopLogger(), TelemetryPath: "/metrics"})
	if want := "api.token_file: stat /does/not/exist: no such file or directory"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestProxies reaches the API through a proxy set in the configuration or in the environment.
func TestProxies(t *testing.T) {
	api := newServer(t)
	target, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	var hosts sync.Map
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host, true)
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()

	t.Run("configuration", func(t *testing.T) {
		e, _ := newExporter(t, configFor("http://one.test", "  http_client: {proxy_url: '"+proxy.URL+"'}\n"))
		if body := send(e, http.MethodGet, "/metrics").Body.String(); !strings.Contains(body, `bilibili_up{wmid="1"} 1`) {
			t.Error("no value came through the proxy")
		}
		if _, ok := hosts.Load("one.test"); !ok {
			t.Error("the proxy was not used")
		}
	})
	t.Run("environment", func(t *testing.T) {
		t.Setenv("HTTP_PROXY", proxy.URL)
		e, _ := newExporter(t, configFor("http://two.test"))
		if body := send(e, http.MethodGet, "/metrics").Body.String(); !strings.Contains(body, `bilibili_up{wmid="1"} 1`) {
			t.Error("no value came through the proxy")
		}
		if _, ok := hosts.Load("two.test"); !ok {
			t.Error("the proxy was not used")
		}
	})
}

// TestTLS reaches the API with a certificate authority from the configuration.
func TestTLS(t *testing.T) {
	api := justoneapitest.NewAPI()
	api.SetAll(justoneapitest.Stat(justoneapitest.Constant(1), 1))
	tls := httptest.NewTLSServer(api)
	defer tls.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	e, logged := newExporter(t, configFor(tls.URL, "  http_client: {tls_config: {ca_file: "+ca+"}}\n"))
	if body := send(e, http.MethodGet, "/metrics").Body.String(); !strings.Contains(body, `bilibili_up{wmid="1"} 1`) {
		t.Errorf("no value came:\n%s", logged)
	}
}

// TestOneConnectionPerRequest checks that a server that supports HTTP/2 and keep-alive gets HTTP/1.1, and one request
// per connection.
func TestOneConnectionPerRequest(t *testing.T) {
	var mu sync.Mutex
	peers := make(map[string]bool)
	api := justoneapitest.NewAPI()
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		mu.Unlock()
		if r.ProtoMajor != 1 {
			t.Errorf("got %s", r.Proto)
		}
		api.ServeHTTP(w, r)
	}))
	tls.EnableHTTP2 = true
	tls.StartTLS()
	defer tls.Close()
	e, _ := newExporter(t, configFor(tls.URL, "  http_client: {tls_config: {insecure_skip_verify: true}}\n"))
	send(e, http.MethodGet, "/metrics")
	if got := api.Total().Requests; got != 3 || len(peers) != 3 {
		t.Errorf("got %d requests on %d connections, want 3 on 3", got, len(peers))
	}
}

// TestBodiesTakeNoSlot announces bodies that never arrive.
func TestBodiesTakeNoSlot(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL), func(o *server.Options) { o.MaxRequests = 1 })
	api := httptest.NewServer(e)
	defer api.Close()
	for _, method := range []string{"GET", "HEAD"} {
		for _, header := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
			conn, err := net.Dial("tcp", api.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s /metrics HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", method, header)
			status, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(status, "HTTP/1.1 413 ") {
				t.Errorf("%s with %s: got %q, %v; want status 413", method, header, status, err)
			}
		}
	}
	resp, err := api.Client().Get(api.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d", resp.StatusCode)
	}
}

// TestUserAgent checks that the vendor sees the name of the exporter, and no Referer.
func TestUserAgent(t *testing.T) {
	var header http.Header
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		io.WriteString(w, "{}") //nolint:errcheck // the response does not matter
	}))
	defer api.Close()
	e, _ := newExporter(t, strings.Replace(configFor(api.URL), "[1, 2, 3]", "[1]", 1))
	send(e, http.MethodGet, "/metrics")
	if got := header.Get("User-Agent"); !strings.HasPrefix(got, "bilibili_exporter/") || header.Get("Referer") != "" {
		t.Errorf("got header %v", header)
	}
}

func TestLogUsage(t *testing.T) {
	for text, want := range map[string]string{
		"users: [1, 2]": `level=info msg="Estimated API usage" users=2 requests_per_day=192 daily_limit=none ` +
			`stretch=1.00 max_requests_per_day=28800 assumed_request_duration=3s ` +
			`verdict="every user can be requested at its interval"`,
		"users: [1]\nquota: {daily_limit: 48}": `level=info msg="Estimated API usage" users=1 requests_per_day=96 ` +
			`daily_limit=48 stretch=2.00 max_requests_per_day=28800 assumed_request_duration=3s ` +
			`verdict="the daily limit stretches every interval"`,
		// The limit keeps the requests within what concurrency allows.
		"users: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]\n" +
			"quota: {daily_limit: 100, min_interval: 1m}": `level=info msg="Estimated API usage" users=21 ` +
			`requests_per_day=30240 daily_limit=100 stretch=302.40 max_requests_per_day=28800 ` +
			`assumed_request_duration=3s verdict="the daily limit stretches every interval"`,
		"users: [{wmid: 1, min_interval: 1ms}]": `level=warn msg="Estimated API usage" users=1 requests_per_day=86400000 ` +
			`daily_limit=none stretch=1.00 max_requests_per_day=28800 assumed_request_duration=3s ` +
			`verdict="concurrency and rate are too low for the intervals" ` +
			`advice="Raise api.max_concurrency or api.max_requests_per_second, or lengthen the intervals."
level=warn msg="Configuration warning" warning="the min_interval of user 1 is 1ms, shorter than the default ` +
			`scrape interval of 1m. Requests are made only on scrapes, ` +
			`so every scrape requests this user, which is billed each time."`,
	} {
		cfg, err := config.Parse("b.yml", strings.NewReader("api: {token: x, max_concurrency: 1}\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		logged := &buffer{}
		server.LogUsage(cfg, log.NewLogfmtLogger(logged))
		if got := strings.TrimSpace(logged.String()); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}
