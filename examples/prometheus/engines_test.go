//go:build rules

package prometheus

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// promtools returns the promtool of Debian and of later versions.
func promtools(t *testing.T) []string {
	return append([]string{"promtool"}, exportertest.Programs(t, "promtool")...)
}

// TestPromtool checks the configuration and the rules.
func TestPromtool(t *testing.T) {
	for _, promtool := range promtools(t) {
		t.Run(filepath.Base(promtool), func(t *testing.T) {
			for kind, files := range map[string]string{"config": "prometheus.yml", "rules": "rules/*.yml"} {
				args := append([]string{"check", kind}, exportertest.Glob(t, "examples/prometheus/"+files)...)
				if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
					t.Errorf("check %s: %v\n%s", kind, err, out)
				}
			}
		})
	}
}

// TestRules runs the tests of the rules with all engines.
func TestRules(t *testing.T) {
	for _, engine := range engines(t) {
		for _, file := range exportertest.Glob(t, "examples/prometheus/rules/tests/*.yml") {
			t.Run(engine.name+" "+filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				if out, err := engine.test(t, file); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// engine runs a test of rules.
type engine struct {
	name string
	test func(t *testing.T, file string) (output string, err error)
}

func engines(t *testing.T) (all []engine) {
	t.Helper()
	for _, promtool := range promtools(t) {
		all = append(all, engine{filepath.Base(promtool), func(_ *testing.T, file string) (string, error) {
			out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput()
			return string(out), err
		}})
	}
	for _, tool := range exportertest.Programs(t, "vmalert-tool") {
		all = append(all, engine{filepath.Base(tool), func(t *testing.T, file string) (string, error) {
			t.Helper()
			file = "-files=" + forVMAlertTool(t, file)
			out, err := exec.Command(tool, "unittest", "-disableAlertgroupLabel", file).CombinedOutput()
			return string(out), err
		}})
	}
	return all
}

var (
	timestamps = regexp.MustCompile(`(- series: \w+_timestamp_seconds\{.*\n +values: )(.*)`)
	firstValue = regexp.MustCompile(`(^| )(\d+)`)
)

// forVMAlertTool returns a copy of a test of rules for vmalert-tool, which has another key for tests of expressions,
// and whose tests start in 2000 instead of 1970.
func forVMAlertTool(t *testing.T, path string) string {
	t.Helper()
	text := strings.ReplaceAll(exportertest.ReadFile(t, path), "promql_expr_test:", "metricsql_expr_test:")
	text = strings.ReplaceAll(text, "../", absolute(t, "")[0]+"/")
	text = timestamps.ReplaceAllStringFunc(text, func(match string) string {
		groups := timestamps.FindStringSubmatch(match)
		return groups[1] + firstValue.ReplaceAllStringFunc(groups[2], func(value string) string {
			const start = 946684800 // 2000-01-01
			seconds, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf(" %d", start+seconds)
		})
	})
	return exportertest.WriteFile(t, filepath.Base(path), text)
}

// absolute returns the absolute paths of files of rules.
func absolute(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	for _, name := range names {
		path, err := filepath.Abs(filepath.Join("examples/prometheus/rules", name))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}
