package config

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// syntaxErrorPattern matches the errors of package yaml. Its first group is the line.
var syntaxErrorPattern = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxError records an error of package yaml. Its line is that of the mistake, if the mistake is a known one. The
// text does not show values, which may be secret.
func (d *decoder) syntaxError(text []byte, err error) {
	match := syntaxErrorPattern.FindStringSubmatch(err.Error())
	if match == nil {
		d.fail(1, "", "reading the file: %v", err)
		return
	}
	line, err := strconv.Atoi(match[1])
	if err != nil {
		line = 1
	} else if strings.HasPrefix(match[2], "did not find expected ") {
		line++ // package yaml counts from 0 in the errors of its parser, from 1 in those of its scanner
	}
	lines := strings.Split(string(bytes.TrimRight(text, "\n")), "\n")
	line, message := diagnose(lines, min(line, len(lines)), match[2])
	d.fail(line, "", "invalid YAML: %s", message)
}

// start matches the start of a line up to a value, also of a value in braces or brackets.
const start = `(?:^|[{\[](?:[^"'#]*,)?)\s*(?:- +)*(?:[\w.-]+:\s+)?`

var tabbed = regexp.MustCompile(`^ *\t`)

// mistakes are the mistakes that people make on a line.
var mistakes = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`^(<{7}|={7}|>{7})( |$)`), "the line is part of a merge conflict of Git; resolve it"},
	{tabbed, "the line is indented with a tab; use spaces"},
	{regexp.MustCompile("^ *[\u3000\u00a0]"), "the line is indented with a full-width or non-breaking space; use spaces"},
	{regexp.MustCompile(`^\s*(?:- +)*\w+\s*：`), "the key is followed by the full-width colon ：; write : and a space"},
	{regexp.MustCompile("^\\s*```"), "the line is not part of the configuration but marks code in Markdown; remove it"},
	{regexp.MustCompile(start + "[@`%]"), "a value that starts with @, ` or % must be quoted"},
	{regexp.MustCompile(start + `\*`), "a value that starts with * must be quoted"},
	{regexp.MustCompile(start + `[|>][^\s|>+\-\d]`), "a value that starts with | or > must be quoted"},
	{regexp.MustCompile(`^\s*(?:- +)*(?:[\w.-]+:\s+)?[\]}]`), "a value that starts with ] or } must be quoted"},
	{regexp.MustCompile(start + `"(?:[^"\\]|\\.)*"\s*[^\s#,\]}:]`), "the value continues after its closing quote"},
	{regexp.MustCompile(start + `'(?:[^']|'')*'\s*[^\s#,\]}:]`),
		"the value continues after its closing quote; within single quotes, write ' as ''"},
	{regexp.MustCompile(`^\s*(?:- +)*[\w.-]+:\s+[^"'\[{|>&!#\s][^"'#]*:(\s|$)`),
		"the value contains a colon and a space, so it must be quoted; or a line break is missing"},
	{regexp.MustCompile(`^\s*(?:- +)*[A-Za-z_]\w*:[^\s/]`), "the colon must be followed by a space"},
	{regexp.MustCompile(`^\s*[A-Za-z_]\w*:\s+- `), "the items of a list start on lines of their own"},
	{regexp.MustCompile(`[\]}"']\s*,\s*(#.*)?$`), "remove the comma at the end of the line"},
}

// generic are the messages of package yaml about mistakes that no single line shows.
var generic = map[string]string{
	"did not find expected ',' or ']'": "a list that starts with [ lacks a comma between two items, or the ] at its end",
	"did not find expected ',' or '}'": "a mapping that starts with { lacks a comma between keys, or the } at its end",
	"could not find expected ':'":      "the line, or the one above, is not a key with a colon and a value",
	"did not find expected key":        "the line is not a key with a colon and a value; check its indentation",
	"did not find expected '-' indicator": "the line is not an item of the list above; " +
		"check its indentation",
	"did not find expected node content": "a value is missing, starts with a character that must be quoted, " +
		"or a bracket is not closed",
	"did not find expected <document start>": "there is text after the end of the document",
	"found unexpected end of stream":         "a quote is not closed",
	"found unknown escape character":         "a backslash in double quotes starts an escape; use single quotes",
	"mapping values are not allowed in this context": "there is a colon where no key can be; " +
		"check the indentation",
	"found character that cannot start any token": "a value starts with a character that must be quoted",
}

// diagnose returns the line and the description of the mistake that made package yaml report a message for a line. It
// looks at that line first, then at the one above, at the indentation, and at the lines below, because the message may
// be about the start of the list or mapping with the mistake.
func diagnose(lines []string, line int, message string) (int, string) {
	if message == "found unexpected end of stream" {
		return unclosedQuote(lines, line), generic[message]
	}
	for _, n := range []int{line, line - 1} {
		if text := mistake(lines, n); text != "" {
			return n, text
		}
	}
	if n := slices.IndexFunc(lines, tabbed.MatchString) + 1; n > 0 {
		return n, mistake(lines, n)
	}
	if n := misindented(lines); n > 0 {
		return n, "the indentation does not fit the lines above"
	}
	for n := line + 1; n <= len(lines); n++ {
		if text := mistake(lines, n); text != "" {
			return n, text
		}
	}
	if strings.HasPrefix(message, "unknown anchor") { // it names the anchor, which may be a token
		return line, "a value that starts with * must be quoted"
	}
	if text, ok := generic[message]; ok {
		return line, text
	}
	return line, message
}

// mistake returns the mistake on a line, or an empty string.
func mistake(lines []string, n int) string {
	if n < 1 || n > len(lines) {
		return ""
	}
	for _, m := range mistakes {
		if m.pattern.MatchString(lines[n-1]) {
			return m.text
		}
	}
	return ""
}

var openQuote = regexp.MustCompile(start + `(?:"(?:[^"\\]|\\.)*|'(?:[^']|'')*)$`)

// unclosedQuote returns the first line with a quote that is not closed on it, or the line of the message.
func unclosedQuote(lines []string, line int) int {
	for i, text := range lines {
		if openQuote.MatchString(text) {
			return i + 1
		}
	}
	return line
}

// level is an open list or mapping.
type level struct {
	indent int
	list   bool
}

var (
	indentation = regexp.MustCompile(`^( *)((?:- +)?)`)
	completed   = regexp.MustCompile(`:\s+([^\s#|>&!{\["']|\{.*\}|\[.*\]|".*"|'.*')`) // a key with a value
)

// misindented returns the first line whose indentation does not fit the lines above, or 0.
func misindented(lines []string) int {
	var levels []level
	complete := false // whether the line above cannot have anything below it
	for i, line := range lines {
		content := strings.TrimSpace(line)
		if content == "" || content[0] == '#' {
			continue
		}
		match := indentation.FindStringSubmatch(line)
		next := level{len(match[1]), match[2] != ""}
		open := len(levels)
		for len(levels) > 0 && !levels[len(levels)-1].fits(next) {
			levels = levels[:len(levels)-1]
		}
		fits := len(levels) > 0 && levels[len(levels)-1] == next
		deeper := open == len(levels) && (!complete || !strings.Contains(content, ":"))
		if !fits && !deeper {
			return i + 1
		}
		if !fits {
			levels = append(levels, next)
		}
		if next.list {
			levels = append(levels, level{next.indent + len(match[2]), false})
		}
		complete = completed.MatchString(line)
	}
	return 0
}

// fits reports whether something at the next level can stand in this one, or below it.
func (l level) fits(next level) bool {
	return l.indent < next.indent || l.indent == next.indent && (next.list || !l.list)
}
