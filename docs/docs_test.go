package docs

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

const (
	module     = "github.com/bilibili-exporter/bilibili_exporter"
	maxColumns = 120 // of a line
	maxREADME  = 150 // lines
)

// language is where the documents in one language are: the README, that of the Helm chart, and the others.
type language struct{ readme, chart, dir string }

var english = language{"README.md", "examples/helm/bilibili-exporter/README.md", "docs"}

// languages are all languages. All have the same documents, and the same names in them.
var languages = []language{
	english,
	{"README.zh-CN.md", "examples/helm/bilibili-exporter/README.zh-CN.md", "docs/zh-CN"},
}

// common are the documents that exist in English only.
var common = []string{"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}

// document is a Markdown file.
type document struct {
	path string
	text string
	rows [][]string // of all tables, cell by cell
}

func read(t *testing.T, path string) document {
	t.Helper()
	d := document{path: path, text: exportertest.ReadFile(t, path)}
	for line := range strings.Lines(d.text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		if strings.HasPrefix(line, "|") && len(cells) > 3 {
			d.rows = append(d.rows, cells[1:len(cells)-1])
		}
	}
	return d
}

// inEachLanguage calls check with a document of docs/ in each language.
func inEachLanguage(t *testing.T, name string, check func(language, document)) {
	t.Helper()
	for _, l := range languages {
		check(l, read(t, filepath.Join(l.dir, name)))
	}
}

// files returns the documents of a language below its directory.
func (l language) files(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(l.dir, "*.md"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no documents: %v", l.dir, err)
	}
	return paths
}

// all returns all documents.
func all(t *testing.T) []document {
	t.Helper()
	paths := slices.Clone(common)
	for _, l := range languages {
		paths = append(append(paths, l.readme, l.chart), l.files(t)...)
	}
	var documents []document
	for _, path := range paths {
		documents = append(documents, read(t, path))
	}
	return documents
}

// block matches a fenced block of code; its groups are the language and the code.
var block = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```$")

// blocks returns the blocks of code in a language.
func (d document) blocks(language string) []string {
	var blocks []string
	for _, match := range block.FindAllStringSubmatch(d.text, -1) {
		if match[1] == language {
			blocks = append(blocks, match[2])
		}
	}
	return blocks
}

// prose returns the text without blocks of code.
func (d document) prose() string { return block.ReplaceAllString(d.text, "") }

var quoted = regexp.MustCompile("`([^`]*)`")

// code returns the parts of a cell that are formatted as code.
func code(cell string) []string {
	var words []string
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, match[1])
	}
	return words
}

// expectSame compares what a document says with what the program says, by name.
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

// TestTranslations compares the names of the documents, and the commands and queries in them, with the English ones.
// Each document links to the other language, because the links of alerts lead to the English one.
func TestTranslations(t *testing.T) {
	for _, l := range languages {
		var want, got []string
		for _, path := range english.files(t) {
			want = append(want, filepath.Base(path))
		}
		for _, path := range l.files(t) {
			got = append(got, filepath.Base(path))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", l.dir, got, want)
		}
		pairs := map[string]string{l.readme: english.readme, l.chart: english.chart}
		for _, name := range want {
			pairs[filepath.Join(l.dir, name)] = filepath.Join(english.dir, name)
		}
		for path, original := range pairs {
			if l != english {
				expectLink(t, path, original)
				expectLink(t, original, path)
			}
			for _, lang := range []string{"sh", "promql", "sql", "yaml"} {
				got, want := withoutComments(read(t, path).blocks(lang)), withoutComments(read(t, original).blocks(lang))
				if !slices.Equal(got, want) {
					t.Errorf("%s: the blocks of %s are\n%s\nwant as in %s\n%s", path, lang, got, original, want)
				}
			}
		}
	}
}

// expectLink checks that a document links to another one above its first section.
func expectLink(t *testing.T, path, target string) {
	t.Helper()
	relative, err := filepath.Rel(filepath.Dir(path), target)
	if err != nil {
		t.Fatal(err)
	}
	above, _, _ := strings.Cut(read(t, path).text, "\n## ")
	if !strings.Contains(above, "]("+filepath.ToSlash(relative)+")") {
		t.Errorf("%s: no link to %s", path, target)
	}
}

var comment = regexp.MustCompile(`(?m) *#.*$`)

// withoutComments returns blocks of code without their comments, which may be translated.
func withoutComments(blocks []string) []string {
	for i := range blocks {
		blocks[i] = comment.ReplaceAllString(blocks[i], "")
	}
	return blocks
}

// TestREADME keeps each README short, and the demo its first command.
func TestREADME(t *testing.T) {
	for _, l := range languages {
		readme := read(t, l.readme)
		if lines := strings.Count(readme.text, "\n"); lines > maxREADME {
			t.Errorf("%s: got %d lines, want at most %d", l.readme, lines, maxREADME)
		}
		commands := readme.blocks("sh")
		if len(commands) == 0 || commands[0] != "go run ./examples/demo\n" {
			t.Errorf("%s: the first command is not the demo: %q", l.readme, commands)
		}
		if !slices.Contains(commands, "go test ./...\n") {
			t.Errorf("%s: the command that runs the tests is missing", l.readme)
		}
		if picture := "](" + filepath.ToSlash(l.dir) + "/status.png)"; !strings.Contains(readme.text, picture) {
			t.Errorf("%s: the screenshot is missing", l.readme)
		}
	}
}

// longURL matches a line that is one URL.
var longURL = regexp.MustCompile(`^[ *>-]*\S*https?://\S+$`)

// TestLines checks the length of lines, except for rows of tables and URLs.
func TestLines(t *testing.T) {
	for _, d := range all(t) {
		for i, line := range strings.Split(d.text, "\n") {
			if utf8.RuneCountInString(line) > maxColumns && !strings.HasPrefix(line, "|") && !longURL.MatchString(line) {
				t.Errorf("%s:%d: more than %d characters", d.path, i+1, maxColumns)
			}
			if strings.TrimRight(line, " \t") != line {
				t.Errorf("%s:%d: white space at the end", d.path, i+1)
			}
		}
	}
}

// TestDocumentedMetrics compares the names, types and labels of metrics with an exposition.
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
	inEachLanguage(t, "metrics.md", func(_ language, d document) {
		documented := make(map[string]string)
		for _, cells := range d.rows {
			if len(cells) < 3 || !slices.Contains([]string{"gauge", "counter", "histogram"}, cells[1]) {
				continue
			}
			labels := code(cells[2])
			slices.Sort(labels)
			for _, name := range code(cells[0]) {
				documented[name] = cells[1] + " " + strings.Join(labels, " ")
			}
		}
		expectSame(t, d.path, documented, actual)
	})
}

// TestDocumentedFlags compares flags and their defaults with --help.
func TestDocumentedFlags(t *testing.T) {
	actual := exportertest.Flags(t)
	inEachLanguage(t, "configuration.md", func(_ language, d document) {
		documented := make(map[string]string)
		for _, cells := range d.rows {
			if !strings.HasPrefix(cells[0], "`--") {
				continue
			}
			for _, name := range code(cells[0]) {
				documented[name] = strings.Join(code(cells[1]), " ")
			}
		}
		expectSame(t, d.path, documented, actual)
	})
}

// sqlConstant matches a constant of the package store that is an SQL statement.
var sqlConstant = regexp.MustCompile("(?m)^const (\\w+) = `((?:CREATE|GRANT)[^`]*)`")

// TestDocumentedTables looks for the statements with which an operator prepares a database.
func TestDocumentedTables(t *testing.T) {
	inEachLanguage(t, "replicas.md", func(_ language, d document) {
		statements := strings.Join(d.blocks("sql"), "")
		found := 0
		for _, path := range exportertest.Glob(t, "collector/store/*.go") {
			for _, constant := range sqlConstant.FindAllStringSubmatch(exportertest.ReadFile(t, path), -1) {
				found++
				if want := strings.Replace(constant[2], "…", "bilibili_exporter", 1); !strings.Contains(statements, want+";\n") {
					t.Errorf("%s: %s is missing: %s", d.path, constant[1], want)
				}
			}
		}
		if found != 3 {
			t.Errorf("found %d statements, want 3", found)
		}
	})
}

// configKeys adds the keys of a section's type, including those of all sections below it.
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

var configKey = regexp.MustCompile(`^(api\.|quota\.|users\[\]\.|max_age$|user_files$)`)

// TestDocumentedKeys compares the keys of the configuration.
func TestDocumentedKeys(t *testing.T) {
	actual := make(map[string]string)
	configKeys(reflect.TypeFor[config.Config](), "", actual)
	inEachLanguage(t, "configuration.md", func(_ language, d document) {
		documented := make(map[string]string)
		for _, cells := range d.rows {
			if names := code(cells[0]); len(names) == 1 && len(cells) == 3 && configKey.MatchString(names[0]) {
				documented[names[0]] = ""
			}
		}
		expectSame(t, d.path, documented, actual)
	})
}

// TestDocumentedConfigurations parses every configuration of the exporter in the documents.
func TestDocumentedConfigurations(t *testing.T) {
	t.Setenv(config.TokenVariable, "token")
	found := 0
	for _, d := range all(t) {
		for _, text := range d.blocks("yaml") {
			if !strings.Contains("\n"+text, "\nusers:") {
				continue
			}
			found++
			if _, err := config.Parse(d.path, strings.NewReader(text)); err != nil {
				t.Errorf("%v in\n%s", err, text)
			}
		}
	}
	if found < 3*len(languages) {
		t.Errorf("found %d configurations", found)
	}
}

// TestDocumentedCodes looks for every code, and for its meaning in English.
func TestDocumentedCodes(t *testing.T) {
	inEachLanguage(t, "metrics.md", func(l language, d document) {
		meanings := make(map[string]string)
		for _, cells := range d.rows {
			if len(cells) != 5 {
				continue
			}
			for _, name := range code(cells[0]) {
				meanings[name] += cells[1]
			}
		}
		for _, known := range justoneapi.KnownCodes() {
			meaning, ok := meanings[known]
			want := strings.TrimPrefix(exportertest.Explain(known).Meaning, "Bilibili: ")
			if !ok || l == english && !strings.Contains(meaning, want) {
				t.Errorf("%s: code %s is explained as %q, want %q", d.path, known, meaning, want)
			}
		}
	})
}

// installs matches a target of the Makefile that installs Debian packages.
var installs = regexp.MustCompile(`(?m)^(\w+):.*\n\t\.ci/install (.*)$`)

// TestDocumentedPackages compares the Debian packages that the targets of the Makefile install.
func TestDocumentedPackages(t *testing.T) {
	actual := make(map[string]string)
	for _, target := range installs.FindAllStringSubmatch(exportertest.ReadFile(t, "Makefile"), -1) {
		packages := regexp.MustCompile(`\S+=`).ReplaceAllString(target[2], "") // commands with another name
		actual["make "+target[1]] = packages
	}
	inEachLanguage(t, "internals.md", func(_ language, d document) {
		documented := make(map[string]string)
		for _, cells := range d.rows {
			if strings.HasPrefix(cells[0], "`make ") && cells[len(cells)-1] != "" {
				documented[code(cells[0])[0]] = strings.Join(code(cells[len(cells)-1]), " ")
			}
		}
		expectSame(t, d.path, documented, actual)
	})
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

// anchors returns the anchors of a document.
func (d document) anchors() []string {
	var anchors []string
	for _, match := range headingLine.FindAllStringSubmatch(d.prose(), -1) {
		anchors = append(anchors, slug(match[1]))
	}
	return anchors
}

// TestLinks follows the links to files, and to headings in the same file or another.
func TestLinks(t *testing.T) {
	for _, d := range all(t) {
		for _, match := range linkTarget.FindAllStringSubmatch(d.prose(), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(match[1], "#")
			target := d.path
			if file != "" {
				target = filepath.Join(filepath.Dir(d.path), file)
			}
			if !exportertest.Exists(target) || anchor != "" && !slices.Contains(read(t, target).anchors(), anchor) {
				t.Errorf("%s: the link to %s is broken", d.path, match[1])
			}
		}
	}
}

// TestAnchors looks for headings that share an anchor, and for documents that the README does not link to.
func TestAnchors(t *testing.T) {
	for _, d := range all(t) {
		anchors := d.anchors()
		slices.Sort(anchors)
		if d.path != "CHANGELOG.md" && len(slices.Compact(slices.Clone(anchors))) != len(anchors) {
			t.Errorf("%s: two headings have the same anchor: %s", d.path, anchors)
		}
	}
	for _, l := range languages {
		readme := read(t, l.readme)
		for _, path := range l.files(t) {
			if !strings.Contains(readme.text, "]("+filepath.ToSlash(path)+")") {
				t.Errorf("%s: no link to %s", l.readme, path)
			}
		}
	}
}

// duration matches a duration as Prometheus writes it.
var duration = regexp.MustCompile(`\b(\d+)(s|m|h|d)\b`)

// TestDocumentedAlerts looks for a runbook of every alert, and for its row with severity and time.
func TestDocumentedAlerts(t *testing.T) {
	inEachLanguage(t, "alerts.md", func(_ language, d document) {
		for _, rule := range exportertest.Rules(t) {
			if rule.Alert == "" {
				continue
			}
			if !strings.Contains(d.text, "\n## "+rule.Alert+"\n") {
				t.Errorf("%s: %s has no runbook", d.path, rule.Alert)
			}
			lasts := strings.Replace(duration.ReplaceAllString(rule.For, "$1 $2"), " m", " min", 1)
			if !slices.ContainsFunc(d.rows, func(cells []string) bool {
				text := strings.Join(cells, " ")
				return strings.HasPrefix(cells[0], "["+rule.Alert+"]") &&
					strings.Contains(text, rule.Labels["severity"]) && strings.Contains(text, lasts)
			}) {
				t.Errorf("%s: no row has %s with %s and %s", d.path, rule.Alert, rule.Labels["severity"], lasts)
			}
		}
	})
}

// TestDocumentedRecordings looks for every recorded series.
func TestDocumentedRecordings(t *testing.T) {
	inEachLanguage(t, "alerts.md", func(_ language, d document) {
		for _, rule := range exportertest.Rules(t) {
			_, operation, _ := strings.Cut(strings.TrimPrefix(rule.Record, "job_wmid:"), ":")
			if rule.Record != "" &&
				!strings.Contains(d.text, "`"+rule.Record+"`") && !strings.Contains(d.text, "`…:"+operation+"`") {
				t.Errorf("%s: %s is missing", d.path, rule.Record)
			}
		}
	})
}

var (
	tourStop = regexp.MustCompile("`([\\w/]+\\.go)`,\\s+`(\\w+)`")
	tourStep = regexp.MustCompile(`(?m)^\d+\. `)
)

// TestTour looks for the functions that the guided tour names.
func TestTour(t *testing.T) {
	inEachLanguage(t, "internals.md", func(_ language, d document) {
		_, tour, _ := strings.Cut(d.text, "```mermaid\n")
		tour, _, _ = strings.Cut(tour, "\n## ")
		if steps := len(tourStep.FindAllString(tour, -1)); steps != 10 {
			t.Errorf("%s: got %d steps, want 10", d.path, steps)
		}
		for _, stop := range tourStop.FindAllStringSubmatch(tour, -1) {
			function := regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + stop[2] + `[\[(]`)
			if !exportertest.Exists(stop[1]) || !function.MatchString(exportertest.ReadFile(t, stop[1])) {
				t.Errorf("%s: there is no %s in %s", d.path, stop[2], stop[1])
			}
		}
	})
}

var (
	pictureNode  = regexp.MustCompile(`(?m)^  (\w+)\["([\w/.]+)`)
	pictureArrow = regexp.MustCompile(`(?m)^  (\w+) --> (\w+)$`)
)

// TestPicture compares the arrows of the guided tour's picture with what the packages import.
func TestPicture(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	inEachLanguage(t, "internals.md", func(_ language, d document) {
		picture := strings.Join(d.blocks("mermaid"), "")
		packages := make(map[string]string) // by node
		for _, node := range pictureNode.FindAllStringSubmatch(picture, -1) {
			packages[node[1]] = strings.TrimSuffix(module+"/"+node[2], "/main.go")
		}
		documented, actual := make(map[string]string), make(map[string]string)
		for _, arrow := range pictureArrow.FindAllStringSubmatch(picture, -1) {
			documented[fmt.Sprintf("arrow from %s to %s", packages[arrow[1]], packages[arrow[2]])] = ""
		}
		shown := slices.Collect(maps.Values(packages))
		for line := range strings.Lines(string(out)) {
			paths := strings.Fields(line)
			for _, path := range paths[1:] {
				if slices.Contains(shown, paths[0]) && slices.Contains(shown, path) {
					actual[fmt.Sprintf("arrow from %s to %s", paths[0], path)] = ""
				}
			}
		}
		expectSame(t, d.path, documented, actual)
	})
}
