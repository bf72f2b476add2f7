//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// faster is by how much this rehearsal is faster than life: all times of the
// examples are divided by it. A Prometheus notices new targets within 5 s,
// however fast: faster than this, a move would look like an exporter that is down.
const faster = 40

// product matches seconds, where PromQL counts them.
var product = regexp.MustCompile(`\b(\d+) \* (60|3600)\b`)

// duration matches a duration as Prometheus writes it.
var duration = regexp.MustCompile(`\b(\d+)(s|m|h|d)\b`)

// rehearse divides all times in a text.
func rehearse(text string) string {
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "60": time.Minute, "3600": time.Hour}
	length := func(groups []string) time.Duration {
		n, _ := strconv.Atoi(groups[1]) // digits, by the expression
		return time.Duration(n) * units[groups[2]] / faster
	}
	text = product.ReplaceAllStringFunc(text, func(match string) string {
		return fmt.Sprintf("%g", length(product.FindStringSubmatch(match)).Seconds())
	})
	return duration.ReplaceAllStringFunc(text, func(match string) string {
		return fmt.Sprintf("%dms", length(duration.FindStringSubmatch(match)).Milliseconds())
	})
}

// rehearsal is a copy of the examples for Prometheus and Alertmanager, faster
// and with addresses of its own.
type rehearsal struct {
	t      *testing.T
	folder string
}

func newRehearsal(t *testing.T) *rehearsal {
	t.Helper()
	r := &rehearsal{t: t, folder: t.TempDir()}
	for _, pattern := range []string{"prometheus/prometheus.yml", "prometheus/rules/*.yml", "alertmanager/alertmanager.yml"} {
		paths, err := filepath.Glob("examples/" + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range paths {
			r.write(strings.TrimPrefix(path, "examples/"), rehearse(exportertest.ReadFile(t, path)))
		}
	}
	return r
}

// write writes a file at once, as those who watch it want.
func (r *rehearsal) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rehearsal) target(name, address string) {
	r.t.Helper()
	r.write("prometheus/targets/"+name+".yml", `[{targets: ["`+address+`"]}]`)
}

// notification is an alert as a webhook is told of it.
type notification struct {
	Status, Path        string
	Labels, Annotations map[string]string
}

// webhook collects what Alertmanager tells.
type webhook struct {
	*httptest.Server
	mu    sync.Mutex // protects the following field
	heard []notification
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Alerts []notification }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, alert := range body.Alerts {
			alert.Path = r.URL.Path
			w.heard = append(w.heard, alert)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// await waits for a notification, and returns it.
func (w *webhook) await(t *testing.T, status, alert string, patience time.Duration) notification {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, n := range w.all() {
			if n.Status == status && n.Labels["alertname"] == alert {
				return n
			}
		}
	}
	t.Fatalf("%s is not %s; heard %+v", alert, status, w.all())
	return notification{}
}

func (w *webhook) all() []notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]notification(nil), w.heard...)
}

// startServer starts a server that logs where it listens.
func startServer(t *testing.T, program string, args ...string) (*exportertest.Process, string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	p := exportertest.Start(t, exec.Command(path, append(args, "--web.listen-address=127.0.0.1:0")...))
	return p, p.Await(`msg="?Listening on"? address=(\S+)`)
}

// startAlertmanager starts an Alertmanager that tells a webhook, and returns its
// address.
func startAlertmanager(t *testing.T, r *rehearsal, hook *webhook) string {
	t.Helper()
	const name = "alertmanager/alertmanager.yml"
	text := exportertest.ReadFile(t, filepath.Join(r.folder, name))
	r.write(name, strings.ReplaceAll(text, "http://localhost:8060", hook.URL))
	_, address := startServer(t, "prometheus-alertmanager", "--config.file="+filepath.Join(r.folder, name), "--storage.path="+t.TempDir(), "--cluster.listen-address=")
	return address
}

// TestInhibition: an exporter that is down silences what follows from it, and
// no other exporter's alerts.
func TestInhibition(t *testing.T) {
	hook := newWebhook(t)
	alerts := "http://" + startAlertmanager(t, newRehearsal(t), hook) + "/api/v2/alerts"
	resp, err := http.Post(alerts, "application/json", strings.NewReader(`[
		{"labels": {"alertname": "BilibiliExporterDown", "job": "bilibili", "severity": "critical"}},
		{"labels": {"alertname": "BilibiliUserFailing", "job": "bilibili", "wmid": "2", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliUserFailing", "job": "other", "wmid": "3", "severity": "warning"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	hook.await(t, "firing", "BilibiliExporterDown", 30*time.Second)
	if got := hook.await(t, "firing", "BilibiliUserFailing", 30*time.Second); got.Labels["job"] != "other" || got.Path != "/warning" {
		t.Errorf("%s is told of %v", got.Path, got.Labels)
	}
	var known []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	if err := json.Unmarshal([]byte(exportertest.Get(t, http.DefaultClient, alerts)), &known); err != nil || len(known) != 3 {
		t.Fatalf("got %v, %v", known, err)
	}
	for _, alert := range known {
		if suppressed := alert.Labels["wmid"] == "2"; (alert.Status.State == "suppressed") != suppressed {
			t.Errorf("%v is %s", alert.Labels, alert.Status.State)
		}
	}
}

// beyond are parts of expressions that may have no data in the rehearsal: it
// is shorter than a day, nothing fails, and nobody gains followers.
var beyond = []string{
	"offset 24h", "offset 1d", "offset 7d", "1d -", "delta1d /", "delta7d /", "BilibiliFollowersDropped", "_code", "_error_info", "_paused", "_resume_",
	"_storage_errors_total[1h])) > 0", "_successful == 0", `up{job="bilibili"} == 0`, "stretch_ratio) > 2", "(bilibili_up) == 0", "> 3 *", "> 0)",
}

// TestAlerts goes the whole way: a creator loses followers, the exporter is asked,
// Prometheus raises the alert of the examples, Alertmanager sends it on, and
// takes it back when they return. An exporter that moves raises nothing.
func TestAlerts(t *testing.T) {
	t.Parallel()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	api.Set(3, justoneapitest.Stat(justoneapitest.Constant(500), 1))
	file := exportertest.WriteFile(t, "b.yml", fmt.Sprintf("api: {base_url: '%s', token: %s}\nquota: {min_interval: %dms, daily_limit: 1000000}\nusers: [{wmid: 2, name: 碧诗}, 3]\n",
		api.URL, justoneapitest.Token, (15*time.Minute/faster).Milliseconds()))
	store := "--storage.path=" + t.TempDir()
	before, address := exportertest.StartExporter(t, "--config.file="+file, store)

	hook, r := newWebhook(t), newRehearsal(t)
	r.target("alertmanager", startAlertmanager(t, r, hook))
	r.target("exporter", address)
	server, prometheusAddress := startServer(t, "prometheus", "--config.file="+r.folder+"/prometheus/prometheus.yml",
		"--storage.tsdb.path="+t.TempDir(), "--query.lookback-delta="+rehearse("5m"), "--rules.alert.resend-delay="+rehearse("1m"))
	server.Await(`(Server is ready to receive web requests)`)
	p := &prometheus{Process: server, url: "http://" + prometheusAddress}
	p.expect(`bilibili_followers{wmid="2"}`, 1_000_000)

	before.End(syscall.SIGTERM) // it moves
	_, address = exportertest.StartExporter(t, "--config.file="+file, store)
	r.target("exporter", address)
	p.expect(`count(up == 1)`, 1)
	time.Sleep(95 * time.Minute / faster) // as much as the comparison with an hour ago looks back
	if heard := hook.all(); len(heard) > 0 {
		t.Errorf("before followers dropped, and an exporter's move later, there are alerts: %+v", heard)
	}

	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(880_000), 11))
	got := hook.await(t, "firing", "BilibiliFollowersPlunged", 60*time.Minute/faster)
	want := map[string]string{"severity": "critical", "wmid": "2", "job": "bilibili"}
	for label, value := range want {
		if got.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, got.Labels[label], value)
		}
	}
	if summary := got.Annotations["summary"]; summary != "碧诗 has lost 120k followers in an hour" || got.Path != "/critical" {
		t.Errorf("%s is told %q", got.Path, summary)
	}
	if description := got.Annotations["description"]; !strings.HasPrefix(description, "880k are left, 12% fewer than an hour ago, by two answers or more.") {
		t.Errorf("got the description %q", description)
	}

	expressions := exportertest.DashboardExpressions(t)
	for _, rule := range exportertest.Rules(t) {
		expressions = append(expressions, rule.Expr)
	}
	for _, expression := range expressions {
		empty := slices.ContainsFunc(beyond, func(part string) bool { return strings.Contains(expression, part) })
		if got := p.results(rehearse(expression)); got == 0 && !empty {
			t.Errorf("no data: %s", expression)
		}
	}

	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	hook.await(t, "resolved", "BilibiliFollowersPlunged", 90*time.Minute/faster)
	for _, n := range hook.all() {
		if name := n.Labels["alertname"]; name != "BilibiliFollowersPlunged" && name != "BilibiliFollowersDropped" || n.Labels["wmid"] != "2" {
			t.Errorf("there is another alert: %+v", n)
		}
	}
}

// results runs an expression, and returns how many series it gives.
func (p *prometheus) results(expression string) int {
	p.T.Helper()
	var answer struct {
		Data struct{ Result []any }
	}
	body := exportertest.Get(p.T, http.DefaultClient, p.url+"/api/v1/query?query="+url.QueryEscape(expression))
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		p.T.Fatalf("%s: %v", expression, err)
	}
	return len(answer.Data.Result)
}
