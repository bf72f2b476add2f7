package grafana

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

func TestMetricNames(t *testing.T) {
	const expression = `topk by (a) (1, sum by (b) (rate(m_1{x=~"}"}[5m])) > bool 0) ` +
		`* on (c) group_left (d) m_2 offset 1d or m_3`
	got := exportertest.MetricNames(expression)
	if want := []string{"m_1", "m_2", "m_3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

var update = flag.Bool("update", false, "write the files that the tests compare with")

// hidden maps the prefixes of metrics that need not be in a dashboard to the reason.
var hidden = map[string]string{
	"go_":       "only needed to debug the exporter",
	"process_":  "the memory and the start time are enough",
	"promhttp_": "Prometheus has metrics of its own about scrapes",
}

// TestDashboardMetrics checks that the dashboards show all metrics, and only metrics that exist.
func TestDashboardMetrics(t *testing.T) {
	families := exportertest.Exposition(t)
	shown := map[string]bool{"ALERTS": true, "up": true} // Prometheus' own
	for _, rule := range exportertest.Rules(t) {
		shown[rule.Record] = true
	}
	for _, expression := range exportertest.DashboardExpressions(t) {
		if strings.Contains(expression, "$_") || strings.Contains(expression, "${") {
			t.Errorf("%s: unknown variable", expression)
		}
		for _, name := range exportertest.MetricNames(expression) {
			family := strings.TrimSuffix(name, "_bucket")
			if _, ok := families[family]; !ok && !shown[family] {
				t.Errorf("%s: there is no %s", expression, name)
			}
			shown[family] = true
		}
	}
	for name := range families {
		prefix, _, _ := strings.Cut(name, "_")
		if !shown[name] && hidden[prefix+"_"] == "" {
			t.Errorf("no dashboard shows %s", name)
		}
	}
}

// mapping is a value mapping of Grafana, of the type value, regex or special.
type mapping struct {
	Type    string
	Options json.RawMessage
}

// text returns the text that a mapping shows for a value, and whether the mapping contains the value.
func (m mapping) text(t *testing.T, value string) (string, bool) {
	t.Helper()
	type result struct{ Text string }
	var byValue map[string]result
	var byPattern struct {
		Pattern, Match string
		Result         result
	}
	options := any(&byPattern)
	if m.Type == "value" {
		options = &byValue
	}
	if err := json.Unmarshal(m.Options, options); err != nil {
		t.Fatal(err)
	}
	switch m.Type {
	case "regex":
		return byPattern.Result.Text, regexp.MustCompile(strings.Trim(byPattern.Pattern, "/")).MatchString(value)
	case "special":
		return byPattern.Result.Text, byPattern.Match == "null+nan" && value == "NaN"
	}
	found, ok := byValue[value]
	return found.Text, ok
}

// TestDashboardCodes compares the meanings of codes in the dashboards with those of the exporter.
func TestDashboardCodes(t *testing.T) {
	for name, column := range map[string]string{"creators.json": "State", "exporter.json": "Meaning"} {
		var found []mapping
		for _, p := range dashboards(t)[name].Panels {
			for _, o := range p.FieldConfig.Overrides {
				if o.Matcher.Options == column {
					found, _ = property[[]mapping](t, o, "mappings")
				}
			}
		}
		for _, known := range append(justoneapi.KnownCodes(), "http_502", "-1", "999") {
			want := exportertest.Explain(known).Meaning
			if got := findMeaning(t, found, known); got != want {
				t.Errorf("%s: got the meaning %q for code %s, want %q", name, got, known, want)
			}
		}
		if findMeaning(t, found, "other") == "" {
			t.Errorf("%s: the code other has no meaning", name)
		}
	}
}

// findMeaning returns the text that Grafana shows for a code: that of the first mapping that contains it.
func findMeaning(t *testing.T, mappings []mapping, code string) string {
	t.Helper()
	for _, m := range mappings {
		if text, ok := m.text(t, code); ok {
			return text
		}
	}
	return ""
}

// TestProvisioning checks the data source and the providers of the dashboards.
func TestProvisioning(t *testing.T) {
	type source struct {
		Name, UID, Type, Access, URL string
		IsDefault                    bool              `yaml:"isDefault"`
		Settings                     map[string]string `yaml:"jsonData"`
	}
	type provider struct {
		Name, Folder, Type string
		AllowUIUpdates     bool `yaml:"allowUiUpdates"`
		Options            map[string]string
	}
	var got struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []source
		Providers   []provider
	}
	for _, path := range []string{"datasources/prometheus.yml", "dashboards/bilibili.yml"} {
		file, err := os.Open(filepath.Join("examples/grafana/provisioning", path))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		decoder := yaml.NewDecoder(file)
		decoder.KnownFields(true)
		if err := decoder.Decode(&got); err != nil || got.APIVersion != 1 {
			t.Fatalf("%s: got version %d, %v", path, got.APIVersion, err)
		}
	}
	if s := got.Datasources; len(s) != 1 || s[0].UID != "prometheus" || s[0].Type != "prometheus" ||
		s[0].URL != "http://prometheus:9090" {
		t.Errorf("got data sources %+v", s)
	}
	var paths []string
	for _, p := range got.Providers {
		paths = append(paths, p.Type+" "+p.Options["path"])
	}
	if want := []string{"file /etc/dashboards", "file /etc/dashboards-zh-CN"}; !slices.Equal(paths, want) {
		t.Errorf("got providers of %q, want %q", paths, want)
	}
}
