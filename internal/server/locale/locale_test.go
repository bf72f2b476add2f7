package locale

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMatch checks which language a browser gets.
func TestMatch(t *testing.T) {
	for header, want := range map[string]*Language{
		"":                                    English,
		"*":                                   English,
		"zh-CN,zh;q=0.9,en;q=0.8":             Chinese,
		"zh":                                  Chinese,
		"zh-Hans-SG":                          Chinese,
		"zh-TW,zh;q=0.9":                      Chinese,
		"en-US,en;q=0.9,zh-CN;q=0.8":          English,
		"fr-FR, zh-CN;q=0.5":                  Chinese,
		"en;q=0.2, zh;q=0.9":                  Chinese,
		"de":                                  English,
		"nonsense;;q=x":                       English,
		strings.Repeat("zh-", 5000) + ",zh;q": English,
	} {
		if got := Match(header); got != want {
			t.Errorf("%.40q: got %s, want %s", header, got.Code, want.Code)
		}
	}
	for code, want := range map[string]*Language{
		"zh": Chinese, "zh-TW": Chinese, "ZH": Chinese, "en": English, "en-GB": English, "de": nil, "?": nil, "": nil,
	} {
		if got := Find(code); got != want {
			t.Errorf("%q: got %+v", code, got)
		}
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		language *Language
		want     string
	}{
		{English, "1,234 of 3,000 users stale"},
		{Chinese, "3,000 users中有 1,234 位数值陈旧"},
	} {
		if got := test.language.Text("%s of %s stale", "1,234", "3,000 users"); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if got := English.Join("One.", "Two.") + Chinese.Join("一。", "二。"); got != "One. Two.一。二。" {
		t.Errorf("got %q", got)
	}
}

// literals returns the texts in the Go files of a directory, and those that are the key of a translation.
func literals(t *testing.T, dir string) (texts, keys []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", dir, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && len(call.Args) > 0 {
				selector, ok := call.Fun.(*ast.SelectorExpr)
				if key := text(call.Args[0]); ok && selector.Sel.Name == "Text" && key != "" {
					keys = append(keys, key)
				}
			}
			if expression, ok := node.(ast.Expr); ok {
				texts = append(texts, text(expression))
			}
			return true
		})
	}
	return texts, keys
}

// text returns the text of a string literal, or of several that are added; else it is empty.
func text(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.BasicLit:
		if value, err := strconv.Unquote(e.Value); e.Kind == token.STRING && err == nil {
			return value
		}
	case *ast.BinaryExpr:
		if x, y := text(e.X), text(e.Y); x != "" && y != "" {
			return x + y
		}
	}
	return ""
}

// templateKey matches a key in a template.
var templateKey = regexp.MustCompile(`{{t "([^"]*)"`)

// TestChinese compares the catalogue with the texts of the packages that the page consists of.
func TestChinese(t *testing.T) {
	texts, keys := literals(t, "../status")
	page, err := os.ReadFile("../status/page.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range templateKey.FindAllSubmatch(page, -1) {
		keys = append(keys, string(match[1]))
	}
	if len(keys) < 100 {
		t.Errorf("found only %d keys", len(keys))
	}
	for _, key := range keys {
		if chinese[key] == "" {
			t.Errorf("no translation of %q", key)
		}
	}
	texts = append(texts, keys...)
	for _, dir := range []string{"../advice", "../../../collector/justoneapi"} {
		more, _ := literals(t, dir)
		texts = append(texts, more...)
	}
	for _, key := range slices.Sorted(maps.Keys(chinese)) {
		if !slices.Contains(texts, key) {
			t.Errorf("the translation of %q is not used", key)
		}
	}
}

var (
	verb      = regexp.MustCompile(`%(?:\[\d\])?s`)
	sentence  = regexp.MustCompile(`\.$`)
	halfWidth = regexp.MustCompile(`\p{Han}[,.:;?!()]|[,:;?!()]\p{Han}`)
	unspaced  = regexp.MustCompile(`\p{Han}[A-Za-z0-9]|[A-Za-z0-9]\p{Han}`)
)

// TestChineseStyle checks that the translations have the arguments and the full stops of the English texts, and follow
// the typography of the Chinese documents.
func TestChineseStyle(t *testing.T) {
	for key, text := range chinese {
		if got, want := len(verb.FindAllString(text, -1)), len(verb.FindAllString(key, -1)); got != want {
			t.Errorf("%q has %d arguments, want %d as in %q", text, got, want, key)
		}
		if sentence.MatchString(key) != strings.HasSuffix(text, "。") {
			t.Errorf("%q and %q do not both end with a full stop", text, key)
		}
		for _, mistake := range []*regexp.Regexp{halfWidth, unspaced} {
			if found := mistake.FindString(verb.ReplaceAllString(text, "")); found != "" {
				t.Errorf("%q contains %q", text, found)
			}
		}
	}
}

var document = regexp.MustCompile(`^\w+\.md#`)

// TestDocuments checks that the documents exist in both languages, and the anchors in them.
func TestDocuments(t *testing.T) {
	texts, _ := literals(t, "../status")
	found := 0
	for _, name := range texts {
		if !document.MatchString(name) {
			continue
		}
		found++
		for _, l := range Languages() {
			path, anchor, _ := strings.Cut(strings.TrimPrefix(l.Document(name), repository), "#")
			text, err := os.ReadFile(filepath.Join("../../..", path))
			if err != nil {
				t.Error(err)
				continue
			}
			heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(regexp.QuoteMeta(anchor), "-", "[- ]") + `$`)
			if !heading.Match(text) {
				t.Errorf("%s has no heading for #%s", path, anchor)
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d documents", found)
	}
}
