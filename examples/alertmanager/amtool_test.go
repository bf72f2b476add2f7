//go:build e2e

package alertmanager

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

const path = "examples/alertmanager/alertmanager.yml"

// amtool runs the amtool of Debian and of later versions, which must succeed.
func amtool(t *testing.T, args ...string) {
	t.Helper()
	for _, program := range append([]string{"amtool"}, exportertest.Programs(t, "amtool")...) {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
	}
}

// commented matches a receiver in a comment; its group is the name.
var commented = regexp.MustCompile(`(?m)^  # - name: (.+)\n(?:  #   .*\n)+`)

// TestE2EAmtool checks the configuration, as it is and with each receiver that is in a comment.
func TestE2EAmtool(t *testing.T) {
	amtool(t, "check-config", path)
	text := exportertest.ReadFile(t, path)
	var names []string
	for _, match := range commented.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
		uncommented := strings.Replace(text, match[0], strings.ReplaceAll(match[0], "  # ", "  "), 1)
		amtool(t, "check-config", exportertest.WriteFile(t, match[1]+".yml", uncommented))
	}
	if want := []string{"wecom", "dingtalk", "feishu"}; !slices.Equal(names, want) {
		t.Errorf("got the receivers %q in comments, want %q", names, want)
	}
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
