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
// check/ decode the others.
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
