// Package locale translates what the status page says. The keys of its catalogue are the English texts.
package locale

import (
	"fmt"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// Language is a language of the page.
type Language struct {
	Code string // as in the query of the page
	Tag  string // of the page's HTML
	Name string // in the language itself

	space   string // between sentences
	docs    string // directory of the documents in the repository
	readme  string
	anchors map[string]string // that differ from the English documents, by the English one
	printer *message.Printer
}

// The languages.
var (
	English = &Language{
		Code: "en", Tag: "en", Name: "English", space: " ", docs: "docs/", readme: "README.md",
		printer: newPrinter(language.English),
	}
	Chinese = &Language{
		Code: "zh", Tag: "zh-CN", Name: "中文", docs: "docs/zh-CN/", readme: "README.zh-CN.md", anchors: chineseAnchors,
		printer: newPrinter(language.SimplifiedChinese),
	}
)

// Languages returns all languages. The first is the one for readers who prefer none of them.
func Languages() []*Language { return []*Language{English, Chinese} }

var matcher = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})

// Find returns the language that a code such as zh or zh-CN means, or nil.
func Find(code string) *Language {
	tag, err := language.Parse(code)
	if err != nil {
		return nil
	}
	_, index, confidence := matcher.Match(tag)
	if confidence == language.No {
		return nil
	}
	return Languages()[index]
}

// Match returns the language that a header Accept-Language prefers.
func Match(acceptLanguage string) *Language {
	_, index := language.MatchStrings(matcher, acceptLanguage)
	return Languages()[index]
}

func newPrinter(tag language.Tag) *message.Printer {
	builder := catalog.NewBuilder(catalog.Fallback(language.English))
	for key, text := range chinese {
		if err := builder.SetString(language.SimplifiedChinese, key, text); err != nil {
			panic(fmt.Sprintf("locale: %q: %v", text, err)) // the tests create all printers
		}
	}
	return message.NewPrinter(tag, message.Catalog(builder))
}

// Text returns the translation of an English text, which is formatted like [fmt.Sprintf] does. The arguments are
// strings: the caller formats numbers.
func (l *Language) Text(english string, arguments ...any) string {
	return l.printer.Sprintf(english, arguments...)
}

// Join joins sentences.
func (l *Language) Join(sentences ...string) string { return strings.Join(sentences, l.space) }

// repository is where the documents are.
const repository = "https://github.com/bilibili-exporter/bilibili_exporter/blob/main/"

// Documentation returns the address of the first document.
func (l *Language) Documentation() string { return repository + l.readme }

// Document returns the address of a document, such as alerts.md#bilibilitokenrefused.
func (l *Language) Document(name string) string {
	file, anchor, _ := strings.Cut(name, "#")
	if translated, ok := l.anchors[anchor]; ok {
		anchor = translated
	}
	return repository + l.docs + file + "#" + anchor
}
