//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// startVictoriaMetrics starts a VictoriaMetrics server with further arguments.
func startVictoriaMetrics(t *testing.T, program string, args ...string) *prometheus {
	t.Helper()
	p := startVictoria(t, program, append(args, "-storageDataPath="+t.TempDir(), "-search.latencyOffset=0s")...)
	p.awaitReady("/health")
	return p
}

func startVictoria(t *testing.T, program string, args ...string) *prometheus {
	t.Helper()
	p := exportertest.Start(t, exec.Command(program, append(args, "-httpListenAddr=127.0.0.1:0")...))
	return &prometheus{Process: p, url: p.Await(`started server at (http://\S+)/`)}
}

// documentedArgs returns the arguments of a program in a file that documents its command, after some changes, of which
// each is a text and its replacement.
func documentedArgs(t *testing.T, path, program string, changes ...string) []string {
	t.Helper()
	args := exportertest.Find(t, path, `(?m)^(?:# +)?`+program+` ((?:.*\\\n)*.*)$`)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(args, changes[i]) {
			t.Fatalf("%s: the command of %s lacks %s: %s", path, program, changes[i], args)
		}
		args = strings.ReplaceAll(args, changes[i], changes[i+1])
	}
	return strings.Fields(strings.NewReplacer("\\\n", " ", "'", "").Replace(args))
}

// TestVictoriaMetricsExample runs the commands of the example for VictoriaMetrics and vmagent with the example itself.
func TestVictoriaMetricsExample(t *testing.T) {
	t.Parallel()
	const example = "examples/scrapers/victoriametrics.yml"
	_, file := exportertest.NewAPI(t, justoneapitest.BilibiliCode(-404, ""))
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	text := strings.Replace(exportertest.ReadFile(t, example), "localhost:12233", address, 1)
	scrape := exportertest.WriteFile(t, "victoriametrics.yml", fasterText(text))
	vmagents := exportertest.Programs(t, "vmagent")
	for i, program := range exportertest.Programs(t, "victoria-metrics") {
		args := documentedArgs(t, example, "victoria-metrics", filepath.Base(example), scrape)
		scraping, receiving := startVictoriaMetrics(t, program, args...), startVictoriaMetrics(t, program)
		startVictoria(t, vmagents[i], append(documentedArgs(t, example, "vmagent", filepath.Base(example), scrape,
			"http://victoria-metrics:8428", receiving.url), "-remoteWrite.tmpDataPath="+t.TempDir())...)
		for _, p := range []*prometheus{scraping, receiving} {
			p.expect(`upstream_error_code{job="bilibili", code="-404"}`, 1)
		}
	}
}

// TestAlertsVMAlert tests the way of an alert with VictoriaMetrics and vmalert instead of Prometheus.
func TestAlertsVMAlert(t *testing.T) {
	t.Parallel()
	vmalerts := exportertest.Programs(t, "vmalert")
	for i, program := range exportertest.Programs(t, "victoria-metrics") {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			testAlertsVMAlert(t, program, vmalerts[i])
		})
	}
}

func testAlertsVMAlert(t *testing.T, victoriaMetrics, vmalert string) {
	t.Helper()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+"}\n"+
		"quota: {min_interval: "+fasterText("15m")+"}\nusers: [{wmid: 2, name: 碧诗}]\n")
	_, address := exportertest.StartExporter(t, "--config.file="+file)

	hook, dir := newWebhook(t), newConfigDir(t)
	notifier := startAlertmanager(t, debianAlertmanager, dir, hook)
	dir.setTarget("exporter", address)
	p := startVictoriaMetrics(t, victoriaMetrics, documentedArgs(t, "docs/alerts.md", "victoria-metrics",
		"prometheus.yml", dir.path+"/prometheus/prometheus.yml")...)
	p.expect(`bilibili_followers{wmid="2"}`, 1_000_000) // else the exporter would seem to be down
	startVictoria(t, vmalert, append(documentedArgs(t, "docs/alerts.md", "vmalert",
		"rules/", dir.path+"/prometheus/rules/", "http://localhost:8428", p.url, "localhost:9093", notifier),
		"-evaluationInterval="+fasterText("1m"), "-datasource.queryStep="+fasterText("5m"),
		"-rule.evalDelay="+fasterText("30s"), "-remoteWrite.flushInterval="+fasterText("2s"))...)
	time.Sleep(faster(95 * time.Minute)) // more than the comparison with an hour ago looks back
	if received := hook.all(); len(received) > 0 {
		t.Errorf("got alerts before the followers dropped: %+v", received)
	}
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(880_000), 11))
	expectPlunge(t, hook)
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	hook.await(t, "resolved", "BilibiliFollowersPlunged", faster(90*time.Minute))
}
