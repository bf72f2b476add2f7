package prometheus

import (
	"regexp"
	"strings"
	"testing"

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
