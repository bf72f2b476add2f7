package scrapers

import (
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// config is a configuration in the format of Prometheus.
type config struct {
	ScrapeConfigs []any `yaml:"scrape_configs"`
}

// TestScrapeConfigs compares the configurations in the format of Prometheus with the one in README.md. The tests in
// check/ load those of the other scrapers.
func TestScrapeConfigs(t *testing.T) {
	readme := exportertest.Find(t, "README.md", "(?s)```yaml\n(scrape_configs:.*?)```")
	if address := "localhost:" + exportertest.DefaultPort(t); !strings.Contains(readme, address) {
		t.Errorf("README.md lacks %s", address)
	}
	var want config
	if err := yaml.Unmarshal([]byte(readme), &want); err != nil {
		t.Fatal(err)
	}
	otel := exportertest.Decode[struct {
		Receivers struct{ Prometheus struct{ Config config } }
	}](t, "examples/scrapers/otel-collector.yaml")
	for name, got := range map[string]config{
		"victoriametrics.yml": exportertest.Decode[config](t, "examples/scrapers/victoriametrics.yml"),
		"otel-collector.yaml": otel.Receivers.Prometheus.Config,
	} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// TestSnippet compares the part of the configuration of the OpenTelemetry Collector that the document shows.
func TestSnippet(t *testing.T) {
	snippet := exportertest.Find(t, "docs/scrapers.md", "(?s)```yaml\n(.*?)```")
	if !strings.Contains(exportertest.ReadFile(t, "examples/scrapers/otel-collector.yaml"), "\n"+snippet) {
		t.Errorf("otel-collector.yaml lacks what docs/scrapers.md shows:\n%s", snippet)
	}
}

// TestVersions looks for the versions that the documents and the tests have in common.
func TestVersions(t *testing.T) {
	for path, pattern := range map[string]string{
		".ci/programs": `victoria-metrics-(\d+\.\d+)`,
		"examples/scrapers/check/alloy/check_test.go": `grafana/alloy@v(\d+\.\d+)`,
		"examples/scrapers/check/otel/go.mod":         `/prometheusreceiver v(\d+\.\d+)`,
		"examples/scrapers/check/telegraf/go.mod":     `/telegraf v(\d+\.\d+)`,
	} {
		version := exportertest.Find(t, path, pattern)
		for _, document := range []string{"docs/scrapers.md", "docs/zh-CN/scrapers.md"} {
			if !strings.Contains(exportertest.ReadFile(t, document), " "+version+" ") {
				t.Errorf("%s lacks the version %s of %s", document, version, path)
			}
		}
	}
}
