package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// describe returns the kind of a node, and the value of a scalar if it may be shown.
func describe(node *yaml.Node, show bool) string {
	switch node.Kind {
	case yaml.MappingNode:
		if node.Style&yaml.FlowStyle != 0 {
			return "a mapping (it starts with {); a string that starts with { must be quoted"
		}
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	names := map[string]string{
		"!!str": "string", "!!int": "integer", "!!float": "number", "!!bool": "boolean", "!!timestamp": "date",
	}
	tag := node.ShortTag()
	name, ok := names[tag]
	switch {
	case tag == "!!null" && node.Anchor != "":
		return "an anchor; a string that starts with & must be quoted"
	case tag == "!!null":
		return "nothing; write a value or remove the key"
	case !ok: // its name is not shown, because an unquoted token that starts with ! is a tag
		return "a value with a custom tag (it starts with !); put it in quotes"
	case !show && tag == "!!int":
		return "an integer"
	case !show && tag == "!!str":
		return "a string" + hint(node.Value)
	case !show:
		return "a " + name
	case tag == "!!str" && quotedNumber.MatchString(node.Value):
		return fmt.Sprintf("the string %q; remove the quotes", node.Value)
	case tag == "!!str" && closeDash.MatchString(node.Value):
		return fmt.Sprintf("the string %q; want a space after the dash", shorten(node.Value))
	case tag == "!!str":
		return fmt.Sprintf("the string %q%s", shorten(node.Value), hint(node.Value))
	default:
		return fmt.Sprintf("the %s %s", name, shorten(node.Value))
	}
}

// shorten cuts a value that is too long for a message, and hides one that may be a token in a wrong place.
func shorten(value string) string {
	const maxShown = 60
	if looksLikeToken(value) {
		return "…, hidden because it may be a token"
	}
	if utf8.RuneCountInString(value) <= maxShown {
		return value
	}
	return string([]rune(value)[:maxShown]) + "…"
}

// hints are what people mean by strings that are not valid where they stand.
var hints = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`：`), "it has the full-width colon ：, want : and a space"},
	{regexp.MustCompile(`^\d+(，\s*\d+)+$`), "it has the full-width comma ，, want a comma"},
	{regexp.MustCompile(`[，、]`), "it has full-width punctuation, want a comma"},
	{regexp.MustCompile(`[０-９]`), "it has full-width digits, want 0 to 9"},
	{regexp.MustCompile("[\u3000\u00a0]"), "it has a full-width or non-breaking space, want a space"},
	{regexp.MustCompile(`^[“”‘’「」„«»]`), `it has typographic quotes, want straight ones (")`},
	{regexp.MustCompile(`^\d{1,3}([,._' ]\d{3})+$`), "write the number without separators"},
	{regexp.MustCompile(`^\d+(\s+\d+)+$`), "separate items by commas, or write one per line after a dash and a space"},
	{regexp.MustCompile(`\s- `), "it continues on the next line, which is indented too far"},
	{regexp.MustCompile(`^\w+:\S`), "want a space after the colon"},
	{regexp.MustCompile(`^\$|\{\{`), "variables and templates must be replaced first; the exporter does not do it"},
}

// hint returns what to do about a string that is not valid where it stands, after a semicolon, or nothing.
func hint(value string) string {
	for _, h := range hints {
		if h.pattern.MatchString(value) {
			return "; " + h.text
		}
	}
	return ""
}

var (
	quotedNumber = regexp.MustCompile(`^\d+(\.\d+)?$`)
	closeDash    = regexp.MustCompile(`^-\d`)
)

var (
	bareNumber   = regexp.MustCompile(`^\d+$`)
	spacedUnit   = regexp.MustCompile(`^(\d+) *(ms|s|m|h|d|w)[a-z]*$`)
	fractionUnit = regexp.MustCompile(`^\d*\.\d+ *[a-z]*$`)
)

// durationHint returns what to do about a string that is not a duration, after a semicolon, or nothing.
func durationHint(value string) string {
	switch unit := spacedUnit.FindStringSubmatch(value); {
	case bareNumber.MatchString(value):
		return fmt.Sprintf("; add a unit, for example %ss", value)
	case unit != nil:
		return fmt.Sprintf("; write %s%s", unit[1], unit[2])
	case fractionUnit.MatchString(value):
		return "; fractions are not supported, write 1h30m for 1.5h"
	case strings.HasPrefix(value, "-"):
		return "; it must not be negative"
	default:
		return hint(value)
	}
}

// cutColon cuts a key at its first colon, which can be full-width.
func cutColon(key string) (name, value string, ok bool) {
	if i := strings.IndexAny(key, ":："); i >= 0 {
		_, size := utf8.DecodeRuneInString(key[i:])
		return key[:i], key[i+size:], true
	}
	return key, "", false
}
