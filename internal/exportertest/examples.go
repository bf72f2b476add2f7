package exportertest

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// ExpectArgs checks that the exporter has all flags of an example's command line, and that it contains a flag.
func ExpectArgs(t *testing.T, args []string, want string) {
	t.Helper()
	flags := Flags(t)
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if _, ok := flags[name]; !ok {
			t.Errorf("the exporter has no flag %s", name)
		}
	}
	if !slices.Contains(args, want) {
		t.Errorf("got arguments %q, want %s among them", args, want)
	}
}

// ExpectStopTimeout checks that an example gives the exporter enough time to shut down before it is killed.
func ExpectStopTimeout(t *testing.T, got time.Duration) {
	t.Helper()
	cfg, err := config.Parse("b.yml", strings.NewReader("{api: {token: t}, users: [1]}"))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Duration(cfg.API.Timeout) + 10*time.Second; got != want {
		t.Errorf("the exporter is killed after %v, want %v: the default of api.timeout and 10s", got, want)
	}
}

// DefaultPort returns the port that the exporter listens on by default.
func DefaultPort(t *testing.T) string {
	t.Helper()
	return strings.TrimPrefix(Flags(t)["--web.listen-address"], ":")
}

// ExpectConfig reads a configuration file of an example, which must name the given token file and user files. The file
// users of this repository replaces them.
func ExpectConfig(t *testing.T, path, token, userFiles, users string) {
	t.Helper()
	before := ReadFile(t, path)
	text := strings.Replace(before, "user_files: ["+userFiles+"]", "user_files: ["+abs(users)+"]", 1)
	if text == before {
		t.Errorf("%s does not name the user files %s", path, userFiles)
	}
	cfg, err := config.Parse(path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.API.TokenFile != token {
		t.Errorf("%s names the token file %s, want %s", path, cfg.API.TokenFile, token)
	}
	if warnings := cfg.Warnings(); len(warnings) > 0 {
		t.Errorf("%s: got warnings %q", path, warnings)
	}
}

// ExpectIgnored checks that neither Git nor the image includes a file with a secret, which the user creates.
func ExpectIgnored(t *testing.T, path string) {
	t.Helper()
	for _, ignore := range []string{".gitignore", ".dockerignore"} {
		if !slices.ContainsFunc(strings.Fields(ReadFile(t, ignore)), func(pattern string) bool {
			ok, err := filepath.Match(strings.TrimPrefix(pattern, "/"), path)
			return ok && err == nil
		}) {
			t.Errorf("%s does not ignore %s", ignore, path)
		}
	}
}

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

// Dashboards returns the Grafana dashboards as plain JSON values, by file name.
func Dashboards(t *testing.T) map[string]any {
	t.Helper()
	all := make(map[string]any)
	for _, path := range Glob(t, "examples/grafana/dashboards/*.json") {
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

// DashboardExpressions returns the PromQL of all panels, annotations and variables of the dashboards. Grafana's
// variables are replaced: everything is selected, and times are short.
func DashboardExpressions(t *testing.T) []string {
	t.Helper()
	variables := strings.NewReplacer("$job", "bilibili", "$creator", ".*", "$wmid", "2", "$top", "10", "$window", "1h",
		"$__rate_interval", "4m", "$__range", "1h", "$__interval", "1m")
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
	// labelLists matches the parts of an expression that hold label names and durations.
	labelLists = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|` +
		`\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	// identifier matches a name; its second group is not empty for a function.
	identifier = regexp.MustCompile(`\b([a-zA-Z_:][\w:]*)(\s*\()?`)
	operators  = []string{"and", "or", "unless", "bool", "offset", "NaN"}
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
