package prometheus

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// queried matches a metric in a query of an annotation's template.
var queried = regexp.MustCompile(`printf "[^"]*?\b((?:bilibili|job_wmid:)[\w:]+)`)

// TestRuleMetrics checks that all metrics in rules and annotations are exposed or recorded.
func TestRuleMetrics(t *testing.T) {
	known := map[string]bool{"up": true}
	for name := range exportertest.Exposition(t) {
		known[name] = true
	}
	rules := exportertest.Rules(t)
	for _, rule := range rules {
		known[rule.Record] = true
	}
	for _, rule := range rules {
		names := exportertest.MetricNames(rule.Expr)
		for _, annotation := range rule.Annotations {
			for _, match := range queried.FindAllStringSubmatch(annotation, -1) {
				names = append(names, match[1])
			}
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s%s: there is no metric %s", rule.Record, rule.Alert, name)
			}
		}
	}
}

// TestAlerts checks that every alert has a severity and a runbook, and that a test of the rules expects it to fire.
func TestAlerts(t *testing.T) {
	var tests strings.Builder
	for _, path := range exportertest.Glob(t, "examples/prometheus/rules/tests/*.yml") {
		tests.WriteString(exportertest.ReadFile(t, path))
	}
	for _, rule := range exportertest.Rules(t) {
		if rule.Alert == "" {
			continue
		}
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: got severity %q", rule.Alert, severity)
		}
		const page = "https://github.com/bilibili-exporter/bilibili_exporter/blob/main/docs/alerts.md"
		want := page + "#" + strings.ToLower(rule.Alert)
		if got := rule.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: got runbook_url %s, want %s", rule.Alert, got, want)
		}
		if !strings.Contains(tests.String(), "runbook_url: "+want+"\n") {
			t.Errorf("%s: no test expects it to fire", rule.Alert)
		}
	}
}

// ranges matches a range of a selector or of a subquery.
var ranges = regexp.MustCompile(`\[(\w+)(?::\w+)?\]`)

// TestRanges checks that no range is a multiple of the interval between samples, because Prometheus 2 would include one
// sample more than others.
func TestRanges(t *testing.T) {
	for _, rule := range exportertest.Rules(t) {
		text := rule.Expr
		for _, annotation := range rule.Annotations {
			text += annotation
		}
		for _, match := range ranges.FindAllStringSubmatch(text, -1) {
			const step = 5 * time.Second // evaluations have intervals of 5 s, 10 s, 15 s, 20 s, 30 s, 1 min …
			if parseDuration(t, match[1])%step == 0 {
				t.Errorf("%s%s: the range %s is a multiple of %v", rule.Record, rule.Alert, match[0], step)
			}
		}
	}
}

func parseDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	duration, err := model.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(duration)
}

// TestGroups checks that no rule reads what its own group records, because vmalert does not see it yet.
func TestGroups(t *testing.T) {
	type group struct {
		Name  string
		Rules []exportertest.Rule
	}
	file := exportertest.Decode[struct{ Groups []group }](t, "examples/prometheus/rules/recording.yml")
	for _, group := range file.Groups {
		for _, reader := range group.Rules {
			names := exportertest.MetricNames(reader.Expr)
			for _, rule := range group.Rules {
				if slices.Contains(names, rule.Record) {
					t.Errorf("%s reads %s, which the group %s records", reader.Record, rule.Record, group.Name)
				}
			}
		}
	}
}
