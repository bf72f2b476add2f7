//go:build e2e

package alertmanager

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

const path = "examples/alertmanager/alertmanager.yml"

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }

// amtool runs amtool, which must succeed.
func amtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("amtool", args...).CombinedOutput(); err != nil {
		t.Errorf("amtool %s: %v (make e2e installs amtool)\n%s", strings.Join(args, " "), err, out)
	}
}

// TestE2EAmtool checks the configuration, as it is and with the receiver for WeCom.
func TestE2EAmtool(t *testing.T) {
	amtool(t, "check-config", path)
	commented := regexp.MustCompile(`(?m)^  # (- name: wecom|  .*)$`)
	wecom := commented.ReplaceAllString(exportertest.ReadFile(t, path), "  $1")
	if !strings.Contains(wecom, "\n    wechat_configs:\n") {
		t.Fatal("there is no receiver for WeCom")
	}
	amtool(t, "check-config", exportertest.WriteFile(t, "wecom.yml", wecom))
}

// TestE2EAmtoolRoutes checks that every alert goes to the receiver of its severity.
func TestE2EAmtoolRoutes(t *testing.T) {
	for _, rule := range exportertest.Rules(t) {
		if severity := rule.Labels["severity"]; rule.Alert != "" {
			amtool(t, "config", "routes", "test", "--config.file="+path, "--verify.receivers="+severity,
				"alertname="+rule.Alert, "severity="+severity, "job=bilibili")
		}
	}
}
