package exportertest

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Rule is a rule of examples/prometheus.
type Rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

// Rules returns all rules of examples/prometheus.
func Rules(t *testing.T) []Rule {
	t.Helper()
	var all []Rule
	for _, name := range []string{"recording", "alerts"} {
		file := Decode[struct{ Groups []struct{ Rules []Rule } }](t, "examples/prometheus/rules/"+name+".yml")
		for _, group := range file.Groups {
			all = append(all, group.Rules...)
		}
	}
	return all
}

// Dashboards returns Grafana's dashboards as plain JSON values, by file name.
func Dashboards(t *testing.T) map[string]any {
	t.Helper()
	paths, err := filepath.Glob("examples/grafana/dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no dashboards", err)
	}
	all := make(map[string]any)
	for _, path := range paths {
		var dashboard any
		if err := json.Unmarshal([]byte(ReadFile(t, path)), &dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = dashboard
	}
	return all
}

// Walk calls visit for every object in a JSON value.
func Walk(value any, visit func(object map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for _, inner := range value {
			Walk(inner, visit)
		}
	case []any:
		for _, inner := range value {
			Walk(inner, visit)
		}
	}
}

// variableQuery matches the queries of variables; its group is the expression.
var variableQuery = regexp.MustCompile(`^(?:query_result|label_values)\((.*?)(?:, \w+)?\)$`)

// DashboardExpressions returns the PromQL of all panels, annotations and
// variables of the dashboards, with everything chosen and short times in place
// of Grafana's variables.
func DashboardExpressions(t *testing.T) []string {
	t.Helper()
	variables := strings.NewReplacer("${creator:regex}", ".*", "${instance:regex}", ".*", "$window", "1h", "$__rate_interval", "4m", "$__range", "1h")
	unique := make(map[string]bool)
	for _, dashboard := range Dashboards(t) {
		Walk(dashboard, func(object map[string]any) {
			if expr, ok := object["expr"].(string); ok {
				unique[variables.Replace(expr)] = true
			}
			query, _ := object["query"].(string)
			if match := variableQuery.FindStringSubmatch(query); match != nil {
				unique[variables.Replace(match[1])] = true
			}
		})
	}
	return slices.Sorted(maps.Keys(unique))
}

var (
	quotes = regexp.MustCompile(`"[^"]*"`)
	// labelLists matches where an expression names labels and times.
	labelLists = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	// identifier matches a name; its second group tells a function.
	identifier = regexp.MustCompile(`\b([a-zA-Z_:][\w:]*)(\s*\()?`)
	operators  = []string{"and", "or", "unless", "bool", "offset"}
)

// MetricNames returns the names of the metrics in an expression.
func MetricNames(expression string) []string {
	expression = labelLists.ReplaceAllString(quotes.ReplaceAllString(expression, ""), " ")
	var names []string
	for _, match := range identifier.FindAllStringSubmatch(expression, -1) {
		if match[2] == "" && !slices.Contains(operators, match[1]) {
			names = append(names, match[1])
		}
	}
	return names
}
