package docs

import (
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// readme is a README, whose tables must say what the program does.
type readme struct {
	text string
	rows [][]string // of all tables, cell by cell
}

// readmes returns all READMEs, by file name.
func readmes(t *testing.T) map[string]readme {
	t.Helper()
	paths, err := filepath.Glob("README*.md")
	if err != nil || !slices.Equal(paths, []string{"README.md", "README.zh-CN.md"}) {
		t.Fatalf("got %v, %v; want both READMEs", paths, err)
	}
	all := make(map[string]readme)
	for _, path := range paths {
		r := readme{text: exportertest.ReadFile(t, path)}
		for line := range strings.Lines(r.text) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			for i, cell := range cells {
				cells[i] = strings.TrimSpace(cell)
			}
			if strings.HasPrefix(line, "|") && len(cells) > 3 {
				r.rows = append(r.rows, cells[1:len(cells)-1])
			}
		}
		all[path] = r
	}
	return all
}

var quoted = regexp.MustCompile("`([^`]*)`")

// code returns what a cell quotes as code.
func code(cell string) []string {
	var words []string
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, match[1])
	}
	return words
}

// expectSame compares what documents say with what the program says, by name.
func expectSame(t *testing.T, path string, documented, actual map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(actual)) {
		if got, ok := documented[name]; !ok || got != actual[name] {
			t.Errorf("%s: %s is %q, want %q", path, name, got, actual[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if _, ok := actual[name]; !ok {
			t.Errorf("%s: there is no %s", path, name)
		}
	}
}

// TestDocumentedMetrics compares the names, types and labels in the READMEs with
// an exposition.
func TestDocumentedMetrics(t *testing.T) {
	actual := make(map[string]string)
	for name, family := range exportertest.Exposition(t) {
		if !strings.HasPrefix(name, "bilibili_") && name != "upstream_error_code" || strings.HasSuffix(name, "_build_info") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		actual[name] = strings.ToLower(family.GetType().String()) + " " + strings.Join(labels, " ")
	}
	for path, readme := range readmes(t) {
		documented := make(map[string]string)
		for _, cells := range readme.rows {
			if len(cells) < 3 || !slices.Contains([]string{"gauge", "counter", "histogram"}, cells[1]) {
				continue
			}
			labels := code(cells[2])
			slices.Sort(labels)
			for _, name := range code(cells[0]) {
				documented[name] = cells[1] + " " + strings.Join(labels, " ")
			}
		}
		for _, name := range []string{"bilibili_exporter_build_info", "go_*", "process_*", "promhttp_*"} {
			delete(documented, name)
		}
		expectSame(t, path, documented, actual)
	}
}

// TestDocumentedFlags compares flags and their defaults with --help.
func TestDocumentedFlags(t *testing.T) {
	actual := exportertest.Flags(t)
	for path, readme := range readmes(t) {
		documented := make(map[string]string)
		for _, cells := range readme.rows {
			if !strings.HasPrefix(cells[0], "`--") {
				continue
			}
			for _, name := range code(cells[0]) {
				documented[name] = strings.Join(code(cells[1]), " ")
			}
		}
		expectSame(t, path, documented, actual)
	}
}

// configKeys returns the keys of a section's type, all below it included.
func configKeys(section reflect.Type, prefix string, keys map[string]string) {
	for field := range section.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		path := prefix + key
		switch {
		case key == "":
		case path == "users":
			configKeys(field.Type.Elem(), "users[].", keys)
		case path == "api" || path == "quota":
			configKeys(field.Type, path+".", keys)
		default:
			keys[path] = ""
		}
	}
}

// TestDocumentedKeys compares the keys of the configuration.
func TestDocumentedKeys(t *testing.T) {
	actual := make(map[string]string)
	configKeys(reflect.TypeFor[config.Config](), "", actual)
	for path, readme := range readmes(t) {
		documented := make(map[string]string)
		for _, cells := range readme.rows {
			if names := code(cells[0]); len(names) == 1 && len(cells) == 3 && regexp.MustCompile(`^(api\.|quota\.|users\[\]\.|max_age$)`).MatchString(names[0]) {
				documented[names[0]] = ""
			}
		}
		expectSame(t, path, documented, actual)
	}
}

// TestDocumentedCodes looks for every code in a table of each README, and for
// its meaning in the English one.
func TestDocumentedCodes(t *testing.T) {
	for path, readme := range readmes(t) {
		meanings := make(map[string]string)
		for _, cells := range readme.rows {
			for _, name := range code(cells[0]) {
				meanings[name] += cells[1]
			}
		}
		for _, known := range justoneapi.KnownCodes() {
			meaning, ok := meanings[known]
			want := strings.TrimPrefix(exportertest.Explain(known).Meaning, "Bilibili: ")
			if !ok || path == "README.md" && !strings.Contains(meaning, want) {
				t.Errorf("%s: code %s is explained as %q, want %q", path, known, meaning, want)
			}
		}
	}
}

// slug returns the anchor that GitHub gives a heading.
func slug(heading string) string {
	kept := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-' || r == ' ' {
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	return strings.ReplaceAll(kept, " ", "-")
}

var (
	headingLine = regexp.MustCompile(`(?m)^#+ (.*)$`)
	linkTarget  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// TestLinks follows the links of the READMEs to headings and files.
func TestLinks(t *testing.T) {
	for path, readme := range readmes(t) {
		anchors := make(map[string]bool)
		for _, match := range headingLine.FindAllStringSubmatch(readme.text, -1) {
			anchors[slug(match[1])] = true
		}
		for _, match := range linkTarget.FindAllStringSubmatch(readme.text, -1) {
			target := match[1]
			switch anchor, isAnchor := strings.CutPrefix(target, "#"); {
			case isAnchor && !anchors[anchor], !isAnchor && !strings.Contains(target, "://") && !exportertest.Exists(target):
				t.Errorf("%s: the link %s leads nowhere", path, target)
			}
		}
	}
}

// duration matches a duration as Prometheus writes it.
var duration = regexp.MustCompile(`\b(\d+)(s|m|h|d)\b`)

// TestDocumentedAlerts looks for a runbook of every alert, and for its row with
// severity and time, in each README.
func TestDocumentedAlerts(t *testing.T) {
	for path, readme := range readmes(t) {
		for _, rule := range exportertest.Rules(t) {
			if rule.Alert == "" {
				continue
			}
			if !strings.Contains(readme.text, "\n#### "+rule.Alert+"\n") {
				t.Errorf("%s: %s has no runbook", path, rule.Alert)
			}
			lasts := strings.Replace(duration.ReplaceAllString(rule.For, "$1 $2"), " m", " min", 1)
			if !slices.ContainsFunc(readme.rows, func(cells []string) bool {
				text := strings.Join(cells, " ")
				return strings.HasPrefix(cells[0], "["+rule.Alert+"]") && strings.Contains(text, rule.Labels["severity"]) && strings.Contains(text, lasts)
			}) {
				t.Errorf("%s: no row has %s with %s and %s", path, rule.Alert, rule.Labels["severity"], lasts)
			}
		}
	}
}
