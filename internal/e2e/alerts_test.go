//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
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

// speedup is how much faster than real time the examples run. With more, a slow machine would look like an exporter
// that is down. The times of vmalert's queries are whole seconds, and so must be the time between evaluations.
const speedup = 30

func faster(d time.Duration) time.Duration { return d / speedup }

// product matches a product of seconds in PromQL.
var product = regexp.MustCompile(`\b(\d+) \* (60|3600)\b`)

// duration matches a Prometheus duration, which may have two parts.
var duration = regexp.MustCompile(`\b(\d+)(s|m|h|d)(?:(\d+)(s))?\b`)

// fasterText divides all times in a text.
func fasterText(text string) string {
	units := map[string]time.Duration{
		"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "60": time.Minute, "3600": time.Hour,
	}
	scaled := func(groups []string) (sum time.Duration) {
		for i := 1; i < len(groups); i += 2 {
			n, _ := strconv.Atoi(groups[i]) // the group matches digits only, or nothing
			sum += faster(time.Duration(n) * units[groups[i+1]])
		}
		return sum
	}
	text = product.ReplaceAllStringFunc(text, func(match string) string {
		return fmt.Sprintf("%g", scaled(product.FindStringSubmatch(match)).Seconds())
	})
	return duration.ReplaceAllStringFunc(text, func(match string) string {
		return fmt.Sprintf("%dms", scaled(duration.FindStringSubmatch(match)).Milliseconds())
	})
}

// configDir is a copy of the examples for Prometheus and Alertmanager with faster times.
type configDir struct {
	t    *testing.T
	path string
}

func newConfigDir(t *testing.T) *configDir {
	t.Helper()
	d := &configDir{t: t, path: t.TempDir()}
	for _, pattern := range []string{
		"prometheus/prometheus.yml", "prometheus/rules/*.yml", "alertmanager/alertmanager.yml",
	} {
		paths, err := filepath.Glob("examples/" + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range paths {
			d.write(strings.TrimPrefix(path, "examples/"), fasterText(exportertest.ReadFile(t, path)))
		}
	}
	return d
}

// write replaces a file atomically, because programs watch it.
func (d *configDir) write(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.path, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		d.t.Fatal(err)
	}
}

// setTarget sets the only target of a job.
func (d *configDir) setTarget(name, address string) {
	d.t.Helper()
	d.write("prometheus/targets/"+name+".yml", `[{targets: ["`+address+`"]}]`)
}

// notification is an alert that a webhook has received.
type notification struct {
	Status, Path        string
	Labels, Annotations map[string]string
}

// webhook collects Alertmanager's notifications.
type webhook struct {
	*httptest.Server
	mu       sync.Mutex // protects the following field
	received []notification
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
			w.received = append(w.received, alert)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// await waits for a notification and returns it.
func (w *webhook) await(t *testing.T, status, alert string, timeout time.Duration) notification {
	t.Helper()
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, n := range w.all() {
			if n.Status == status && n.Labels["alertname"] == alert {
				return n
			}
		}
	}
	t.Fatalf("no notification that %s is %s, but %+v", alert, status, w.all())
	return notification{}
}

func (w *webhook) all() []notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.received)
}

// startAlertmanager starts an Alertmanager that notifies a webhook, and returns its address.
func startAlertmanager(t *testing.T, program string, d *configDir, hook *webhook) string {
	t.Helper()
	const name = "alertmanager/alertmanager.yml"
	path := filepath.Join(d.path, name)
	d.write(name, strings.ReplaceAll(exportertest.ReadFile(t, path), "http://localhost:8060", hook.URL))
	_, address := startServer(t, program,
		"--config.file="+path, "--storage.path="+t.TempDir(), "--cluster.listen-address=")
	return address
}

// TestInhibition checks that BilibiliExporterDown, BilibiliUpstreamOutage and BilibiliNoActiveExporter inhibit alerts
// of the same job and no others.
func TestInhibition(t *testing.T) {
	t.Parallel()
	for _, program := range append([]string{debianAlertmanager}, exportertest.Programs(t, "alertmanager")...) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			testInhibition(t, program)
		})
	}
}

func testInhibition(t *testing.T, alertmanager string) {
	t.Helper()
	hook := newWebhook(t)
	alerts := "http://" + startAlertmanager(t, alertmanager, newConfigDir(t), hook) + "/api/v2/alerts"
	resp, err := http.Post(alerts, "application/json", strings.NewReader(`[
		{"labels": {"alertname": "BilibiliExporterDown", "job": "bilibili", "severity": "critical"}},
		{"labels": {"alertname": "BilibiliUserFailing", "job": "bilibili", "wmid": "2", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliUpstreamOutage", "job": "outage", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliUserFailing", "job": "outage", "wmid": "2", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliUserStale", "job": "outage", "wmid": "2", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliNoActiveExporter", "job": "standby", "severity": "critical"}},
		{"labels": {"alertname": "BilibiliUserStale", "job": "standby", "wmid": "2", "severity": "warning"}},
		{"labels": {"alertname": "BilibiliUserFailing", "job": "other", "wmid": "3", "severity": "warning"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	hook.await(t, "firing", "BilibiliExporterDown", 30*time.Second)
	got := hook.await(t, "firing", "BilibiliUserFailing", 30*time.Second)
	if got.Labels["job"] != "other" || got.Path != "/warning" {
		t.Errorf("%s received %v", got.Path, got.Labels)
	}
	var known []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	body := exportertest.Get(t, http.DefaultClient, alerts)
	if err := json.Unmarshal([]byte(body), &known); err != nil || len(known) != 8 {
		t.Fatalf("got %v, %v", known, err)
	}
	for _, alert := range known {
		if suppressed := alert.Labels["wmid"] == "2"; (alert.Status.State == "suppressed") != suppressed {
			t.Errorf("%v is %s", alert.Labels, alert.Status.State)
		}
	}
}

// mayBeEmpty are parts of expressions that may yield nothing in TestAlerts, because it is shorter than a day, nothing
// fails, and no user gains followers.
var mayBeEmpty = []string{
	"offset 24h", "offset 1d", "offset -1d", "offset 7d", "1d -", "delta1d /", "delta7d /", "BilibiliFollowersDropped",
	"_account_balance", "_code", "_error_info", "_paused", "_resume_", "_storage_errors_total[1h",
	"_successful == 0", `(up{job="bilibili"}) == 0`, "exporter_active) == 0", ") > 2", "(bilibili_up)\n) == 0", "> 3 *",
	"> 0)",
}

// TestAlerts tests the way of an alert from the API to a webhook: a creator loses followers, Prometheus fires the alert
// of the examples, and Alertmanager sends it, and resolves it when the followers are back. An exporter that moves to
// another address causes no alert.
func TestAlerts(t *testing.T) {
	t.Parallel()
	alertmanagers := append([]string{debianAlertmanager}, exportertest.Programs(t, "alertmanager")...)
	for i, program := range append([]string{debianPrometheus}, exportertest.Programs(t, "prometheus")...) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			testAlerts(t, program, alertmanagers[i%len(alertmanagers)])
		})
	}
}

func testAlerts(t *testing.T, program, alertmanager string) {
	t.Helper()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	api.Set(3, justoneapitest.Stat(justoneapitest.Constant(500), 1))
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+"}\n"+
		"quota: {min_interval: "+fasterText("15m")+", daily_limit: 1000000}\nusers: [{wmid: 2, name: 碧诗}, 3]\n")
	before, address := exportertest.StartExporter(t, "--config.file="+file)

	hook, dir := newWebhook(t), newConfigDir(t)
	dir.setTarget("alertmanager", startAlertmanager(t, alertmanager, dir, hook))
	dir.setTarget("exporter", address)
	p := startPrometheus(t, program, dir.path+"/prometheus/prometheus.yml",
		"--query.lookback-delta="+fasterText("5m"), "--rules.alert.resend-delay="+fasterText("1m"),
		"--scrape.discovery-reload-interval=100ms") // else it waits for up to another 5 s
	p.expect(`bilibili_followers{wmid="2"}`, 1_000_000)

	_, address = exportertest.StartExporter(t, "--config.file="+file)
	dir.setTarget("exporter", address) // the exporter moves
	p.expect(`count(bilibili_followers{wmid="2", instance="`+address+`"})`, 1)
	p.expect(`count(up == 1)`, 1)
	before.End(syscall.SIGTERM)
	time.Sleep(faster(95 * time.Minute)) // more than the comparison with an hour ago looks back
	if received := hook.all(); len(received) > 0 {
		t.Errorf("got alerts after the exporter moved, before the followers dropped: %+v", received)
	}

	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(880_000), 11))
	expectPlunge(t, hook)

	expressions := exportertest.DashboardExpressions(t)
	for _, rule := range exportertest.Rules(t) {
		expressions = append(expressions, rule.Expr)
	}
	for _, expression := range expressions {
		empty := slices.ContainsFunc(mayBeEmpty, func(part string) bool { return strings.Contains(expression, part) })
		if got := p.query(fasterText(expression)); len(got) == 0 && !empty {
			t.Errorf("no data: %s", expression)
		}
	}

	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	hook.await(t, "resolved", "BilibiliFollowersPlunged", faster(90*time.Minute))
	for _, n := range hook.all() {
		name := n.Labels["alertname"]
		if name != "BilibiliFollowersPlunged" && name != "BilibiliFollowersDropped" || n.Labels["wmid"] != "2" {
			t.Errorf("got another alert: %+v", n)
		}
	}
}

// expectPlunge waits for the alert that user 2 has lost 120,000 of 1,000,000 followers.
func expectPlunge(t *testing.T, hook *webhook) {
	t.Helper()
	got := hook.await(t, "firing", "BilibiliFollowersPlunged", faster(60*time.Minute))
	want := map[string]string{"severity": "critical", "wmid": "2", "job": "bilibili"}
	for label, value := range want {
		if got.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, got.Labels[label], value)
		}
	}
	summary := got.Annotations["summary"]
	if summary != "碧诗 has lost 120k followers in an hour" || got.Path != "/critical" {
		t.Errorf("%s received the summary %q", got.Path, summary)
	}
	const description = "880k remain, 12% fewer than an hour ago, confirmed by at least two responses."
	if got := got.Annotations["description"]; !strings.HasPrefix(got, description) {
		t.Errorf("got the description %q, want %q", got, description)
	}
}
