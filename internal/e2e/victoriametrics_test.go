//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// startVictoriaMetrics starts a VictoriaMetrics server that scrapes as a configuration file of Prometheus says.
func startVictoriaMetrics(t *testing.T, program, file string) *prometheus {
	t.Helper()
	p := startVictoria(t, program, "-storageDataPath="+t.TempDir(), "-search.latencyOffset=0s",
		"-promscrape.config="+file, "-promscrape.config.strictParse=false") // for the keys of alerts and rules
	p.awaitReady("/health")
	return p
}

func startVictoria(t *testing.T, program string, args ...string) *prometheus {
	t.Helper()
	p := exportertest.Start(t, exec.Command(program, append(args, "-httpListenAddr=127.0.0.1:0")...))
	return &prometheus{Process: p, url: p.Await(`started server at (http://\S+)/`)}
}

// TestVictoriaMetrics tests the way of an alert with VictoriaMetrics and vmalert instead of Prometheus.
func TestVictoriaMetrics(t *testing.T) {
	t.Parallel()
	vmalerts := exportertest.Programs(t, "vmalert")
	for i, program := range exportertest.Programs(t, "victoria-metrics") {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			testVictoriaMetrics(t, program, vmalerts[i])
		})
	}
}

func testVictoriaMetrics(t *testing.T, victoriaMetrics, vmalert string) {
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
	p := startVictoriaMetrics(t, victoriaMetrics, dir.path+"/prometheus/prometheus.yml")
	p.expect(`bilibili_followers{wmid="2"}`, 1_000_000) // else the exporter would seem to be down
	startVictoria(t, vmalert, "-rule="+dir.path+"/prometheus/rules/*.yml", "-datasource.url="+p.url,
		"-remoteWrite.url="+p.url, "-notifier.url=http://"+notifier,
		"-evaluationInterval="+fasterText("1m"), "-datasource.queryStep="+fasterText("5m"),
		"-rule.evalDelay="+fasterText("30s"), "-remoteWrite.flushInterval="+fasterText("2s"))
	time.Sleep(faster(95 * time.Minute)) // more than the comparison with an hour ago looks back
	if received := hook.all(); len(received) > 0 {
		t.Errorf("got alerts before the followers dropped: %+v", received)
	}
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(880_000), 11))
	expectPlunge(t, hook)
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1_000_000), 11))
	hook.await(t, "resolved", "BilibiliFollowersPlunged", faster(90*time.Minute))
}
