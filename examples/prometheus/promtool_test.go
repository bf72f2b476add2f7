//go:build e2e

package prometheus

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestE2EPromtool has Prometheus' and Alertmanager's own tools check the files
// that users copy, and runs the tests of the rules.
func TestE2EPromtool(t *testing.T) {
	promtool := func(command, kind, pattern string) []string {
		files, err := filepath.Glob("examples/prometheus/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		return append([]string{"promtool", command, kind}, files...)
	}
	for _, args := range [][]string{
		promtool("check", "config", "prometheus.yml"),
		promtool("check", "rules", "rules/*.yml"),
		promtool("test", "rules", "rules/tests/*.yml"),
		{"amtool", "check-config", "examples/alertmanager/alertmanager.yml"},
		{"amtool", "check-config", withWeCom(t)},
	} {
		t.Run(strings.Join(args[:2], " ")+" "+filepath.Base(args[2]), func(t *testing.T) {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v (make e2e installs what is missing)\n%s", err, out)
			}
		})
	}
}

// TestE2EPromtoolRoutes asks where alerts go: to whom they wake, or not.
func TestE2EPromtoolRoutes(t *testing.T) {
	for _, rule := range exportertest.Rules(t) {
		if rule.Alert == "" {
			continue
		}
		severity := rule.Labels["severity"]
		args := []string{"config", "routes", "test", "--config.file=examples/alertmanager/alertmanager.yml", "--verify.receivers=" + severity,
			"alertname=" + rule.Alert, "severity=" + severity, "job=bilibili"}
		if out, err := exec.Command("amtool", args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", rule.Alert, err, out)
		}
	}
}

// withWeCom returns a copy of alertmanager.yml in which the receiver that is
// commented out is not.
func withWeCom(t *testing.T) string {
	t.Helper()
	changed := regexp.MustCompile(`(?m)^  # (- name: wecom|  .*)$`).ReplaceAllString(exportertest.ReadFile(t, "examples/alertmanager/alertmanager.yml"), "  $1")
	if !strings.Contains(changed, "\n    wechat_configs:\n") {
		t.Fatal("alertmanager.yml has no receiver for WeCom")
	}
	return exportertest.WriteFile(t, "wecom.yml", changed)
}

// TestE2EPromtoolAlerts looks at what promtool does not: that every alert says
// how bad it is and where its runbook is, and that it is tested.
func TestE2EPromtoolAlerts(t *testing.T) {
	tests := readAll(t, "examples/prometheus/rules/tests/*.yml")
	for _, alert := range exportertest.Rules(t) {
		if alert.Alert == "" {
			continue
		}
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: got severity %q", alert.Alert, severity)
		}
		want := "https://github.com/bilibili-exporter/bilibili_exporter/blob/main/docs/alerts.md#" + strings.ToLower(alert.Alert)
		if got := alert.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: got runbook_url %s, want %s", alert.Alert, got, want)
		}
		if !strings.Contains(tests, "runbook_url: "+want+"\n") {
			t.Errorf("%s: no test sees it firing", alert.Alert)
		}
	}
}

// readAll returns the text of all files whose names match a pattern.
func readAll(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		all.WriteString(exportertest.ReadFile(t, file))
	}
	return all.String()
}
