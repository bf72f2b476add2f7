package grafana

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"
)

// literal matches a JSON string; its group is the content.
const literal = `"((?:[^"\\]|\\.)*)"`

// The parts of a dashboard that people read. Their first group is the text.
var (
	text = regexp.MustCompile(`(?:"(?:title|description|label|legendFormat|noValue|text|displayName|tooltip)":|` +
		`"byName",\s*"options":)\s*` + literal)
	annotation = regexp.MustCompile(`"name":\s*` + literal + `,\s*"datasource":(?s:.{0,200}?)"enable":`)
	columns    = regexp.MustCompile(`"renameByName":\s*\{([^}]*)\}`)
	column     = regexp.MustCompile(`:\s*` + literal)
	identity   = regexp.MustCompile(`(?:"uid": "|/d/)bilibili-(?:creators?|exporter)`)
	tags       = regexp.MustCompile(`"tags":\s*\["bilibili`)
)

// untranslated are texts that are the same in Chinese: names, Grafana's own values, and labels.
var untranslated = regexp.MustCompile(`^(?:All|default|WMID|Exporter|exporter|–|\d+(?:[dh]| %)?|\{\{\w+\}\})$`)

// translator translates dashboards.
type translator struct {
	t     *testing.T
	texts map[string]string // by the English text
	used  map[string]bool
}

func newTranslator(t *testing.T) *translator {
	t.Helper()
	texts := maps.Clone(chinese)
	for _, code := range append(justoneapi.KnownCodes(), "http_502", "-1", "999") {
		meaning := exportertest.Explain(code).Meaning
		texts[meaning] = locale.Chinese.Text(meaning)
	}
	return &translator{t, texts, make(map[string]bool)}
}

// dashboard translates the texts of a dashboard, and gives it another UID and tag.
func (tr *translator) dashboard(json string) string {
	json = tr.replace(text, json)
	json = tr.replace(annotation, json)
	json = columns.ReplaceAllStringFunc(json, func(block string) string { return tr.replace(column, block) })
	json = identity.ReplaceAllString(json, "$0-zh")
	return tags.ReplaceAllString(json, "$0-zh")
}

// replace translates the first group of all matches.
func (tr *translator) replace(pattern *regexp.Regexp, json string) string {
	return pattern.ReplaceAllStringFunc(json, func(match string) string {
		english := pattern.FindStringSubmatch(match)[1]
		if untranslated.MatchString(english) {
			return match
		}
		tr.used[english] = true
		translated, ok := tr.texts[english]
		if !ok {
			tr.t.Errorf("no translation of %q", english)
		}
		return strings.Replace(match, `"`+english+`"`, `"`+translated+`"`, 1)
	})
}

// TestChineseDashboards compares the Chinese dashboards with the English ones, from which "make dashboards" writes
// them.
func TestChineseDashboards(t *testing.T) {
	tr := newTranslator(t)
	for _, source := range exportertest.Glob(t, "examples/grafana/dashboards/*.json") {
		path := filepath.Join("examples/grafana/zh-CN", filepath.Base(source))
		want := tr.dashboard(exportertest.ReadFile(t, source))
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if exportertest.ReadFile(t, path) != want {
			t.Errorf("%s differs from %s: run make dashboards", path, source)
		}
	}
	for english := range chinese {
		if !tr.used[english] {
			t.Errorf("the translation of %q is not used", english)
		}
	}
	if got, want := len(exportertest.Glob(t, "examples/grafana/zh-CN/*")), len(exportertest.Dashboards(t)); got != want {
		t.Errorf("got %d Chinese dashboards, want %d", got, want)
	}
}

var (
	han     = regexp.MustCompile(`\p{Han}`)
	mistake = regexp.MustCompile(`\p{Han}[,.:;?!()]|[,:;?!()]\p{Han}|\p{Han}[A-Za-z0-9$]|[A-Za-z0-9]\p{Han}`)
)

// TestChineseTexts looks for English texts in the Chinese dashboards, independently of the table of texts, and for
// mistakes of typography.
func TestChineseTexts(t *testing.T) {
	for _, path := range exportertest.Glob(t, "examples/grafana/zh-CN/*.json") {
		var value any
		if err := json.Unmarshal([]byte(exportertest.ReadFile(t, path)), &value); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, text := range readable(value) {
			if !han.MatchString(text) && !untranslated.MatchString(text) && text != "" {
				t.Errorf("%s: %q is not Chinese", path, text)
			}
			if found := mistake.FindString(text); found != "" {
				t.Errorf("%s: %q contains %q", path, text, found)
			}
		}
	}
}

// readable returns the texts of a dashboard that people read.
func readable(dashboard any) []string {
	var texts []string
	exportertest.Walk(dashboard, func(object map[string]any) {
		for key, value := range object {
			text, _ := value.(string)
			switch {
			case slices.Contains([]string{"title", "description", "label", "legendFormat", "noValue", "text", "displayName",
				"tooltip"}, key):
			case key == "options" && object["id"] == "byName":
			case key == "name" && object["iconColor"] != nil:
			default:
				continue
			}
			texts = append(texts, text)
		}
		if renamed, ok := object["renameByName"].(map[string]any); ok {
			for _, value := range renamed {
				texts = append(texts, value.(string))
			}
		}
	})
	return texts
}
