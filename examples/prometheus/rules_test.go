package prometheus

import (
	"regexp"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// queried matches a metric that a template of an annotation asks for.
var queried = regexp.MustCompile(`printf "[^"]*?\b((?:bilibili|job_wmid:)[\w:]+)`)

// TestRuleMetrics looks for every metric that rules and annotations use in the
// exposition, or among the recorded ones.
func TestRuleMetrics(t *testing.T) {
	known := map[string]bool{"up": true}
	for name := range exportertest.Exposition(t) {
		known[name] = true
	}
	for _, rule := range exportertest.Rules(t) {
		known[rule.Record] = true
	}
	for _, rule := range exportertest.Rules(t) {
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
