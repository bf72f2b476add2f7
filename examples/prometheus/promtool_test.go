//go:build e2e

package prometheus

import (
	"os/exec"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestE2EPromtool checks the configuration and the rules with promtool, and runs the tests of the rules.
func TestE2EPromtool(t *testing.T) {
	for _, test := range []struct{ command, kind, files string }{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "rules/*.yml"},
		{"test", "rules", "rules/tests/*.yml"},
	} {
		t.Run(test.command+" "+test.kind, func(t *testing.T) {
			args := append([]string{test.command, test.kind}, exportertest.Glob(t, "examples/prometheus/"+test.files)...)
			if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
				t.Errorf("%v (make e2e installs promtool)\n%s", err, out)
			}
		})
	}
}
