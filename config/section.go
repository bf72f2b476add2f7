package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// decoder collects the errors of a file; only the first is told.
type decoder struct {
	file string
	err  error
}

// fail records that something is wrong at a line.
func (d *decoder) fail(line int, path, format string, args ...any) {
	if d.err != nil {
		return
	}
	at := fmt.Sprintf("%s:%d: ", d.file, line)
	if path != "" {
		at += path + ": "
	}
	d.err = errors.New(at + fmt.Sprintf(format, args...))
}

// section is a mapping of the file, read key by key: each reading method
// leaves its target alone if the key is absent.
type section struct {
	*decoder
	path  string                // of the mapping, "" for the file itself
	line  int                   // of its key
	nodes map[string]*yaml.Node // the values, by key
	lines map[string]int        // of the keys
}

// section opens the mapping at node, whose key is at the given line; null is an
// empty one.
func (d *decoder) section(node *yaml.Node, line int, path string) *section {
	s := &section{
		decoder: d, path: path, line: line,
		nodes: make(map[string]*yaml.Node), lines: make(map[string]int),
	}
	node = resolve(node)
	if node.Tag == "!!null" {
		return s
	}
	if node.Kind != yaml.MappingNode {
		d.fail(s.line, path, "want keys and values, got %s", kindName(node))
		return s
	}
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if first, repeated := s.lines[key.Value]; repeated {
			d.fail(key.Line, s.key(key.Value), "is given twice, first in line %d", first)
		}
		s.nodes[key.Value], s.lines[key.Value] = node.Content[i+1], key.Line
	}
	return s
}

// resolve follows an alias to what it stands for.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// kindName says what a node is, without showing what it holds.
func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	names := map[string]string{
		"!!str": "a string", "!!int": "a whole number", "!!float": "a number", "!!bool": "true or false",
		"!!null": "nothing", "!!timestamp": "a date",
	}
	if name, ok := names[node.ShortTag()]; ok {
		return name
	}
	return "a value with a tag of its own" // an unquoted token that begins with ! is one, and would be shown
}

// key returns the path of a key. What follows a colon in it is not shown: it is
// a value, perhaps a secret one, that lacks a space before it.
func (s *section) key(key string) string {
	if name, _, ok := strings.Cut(key, ":"); ok {
		key = name + ":…"
	}
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// has reports whether the mapping has the key.
func (s *section) has(key string) bool { return s.nodes[key] != nil }

// lineOf returns the line of a key, the section's if it is absent.
func (s *section) lineOf(key string) int {
	if line, ok := s.lines[key]; ok {
		return line
	}
	return s.line
}

// bad records that the value of a key is wrong.
func (s *section) bad(key, format string, args ...any) {
	s.fail(s.lineOf(key), s.key(key), format, args...)
}

// scalar returns the text of a key whose value has one of the given tags.
func (s *section) scalar(key, want string, tags ...string) (string, bool) {
	node := s.nodes[key]
	if node == nil {
		return "", false
	}
	node = resolve(node)
	if node.Kind != yaml.ScalarNode || !slices.Contains(tags, node.ShortTag()) {
		s.bad(key, "want %s, got %s", want, kindName(node))
		return "", false
	}
	return node.Value, true
}

func (s *section) text(key string, to *string) {
	if text, ok := s.scalar(key, "a string (in quotes if it looks like something else)", "!!str"); ok {
		*to = text
	}
}

func (s *section) boolean(key string, to *bool) {
	if text, ok := s.scalar(key, "true or false", "!!bool"); ok {
		*to = strings.EqualFold(text, "true")
	}
}

// integer reads a whole number of at least least.
func (s *section) integer(key string, least int, to *int) {
	want := fmt.Sprintf("a whole number of at least %d", least)
	text, ok := s.scalar(key, want, "!!int")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || int(n) < least {
		s.bad(key, "want %s, got %s", want, text)
		return
	}
	*to = int(n)
}

// positive reads a number above 0.
func (s *section) positive(key string, to *float64) {
	text, ok := s.scalar(key, "a number above 0", "!!int", "!!float")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 1) {
		s.bad(key, "want a number above 0, got %s", text)
		return
	}
	*to = f
}

// duration reads a duration above 0 and of at most a year, which keeps sums
// and multiples of durations far from overflow.
func (s *section) duration(key string, to *model.Duration) {
	text, ok := s.scalar(key, "a duration such as 15m or 1d", "!!str", "!!int")
	if !ok {
		return
	}
	year, _ := model.ParseDuration("1y")
	d, err := model.ParseDuration(text)
	switch {
	case err != nil:
		s.bad(key, "want a duration such as 15m or 1d, got %q", text)
	case d <= 0 || d > year:
		s.bad(key, "want a duration above 0 and of at most %s, got %q", year, text)
	default:
		*to = d
	}
}

// list returns the items of a key whose value is a list.
func (s *section) list(key string) []*yaml.Node {
	node := s.nodes[key]
	if node == nil {
		return nil
	}
	node = resolve(node)
	if node.Kind != yaml.SequenceNode && node.Tag != "!!null" {
		s.bad(key, "want a list, got %s", kindName(node))
	}
	return node.Content
}

// sub opens the mapping that is the value of a key, an empty one if it is absent.
func (s *section) sub(key string) *section {
	node := s.nodes[key]
	if node == nil {
		node = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return s.section(node, s.lineOf(key), s.key(key))
}

// known refuses all other keys.
func (s *section) known(keys ...string) {
	unknown := slices.DeleteFunc(slices.Collect(maps.Keys(s.nodes)), func(key string) bool { return slices.Contains(keys, key) })
	if len(unknown) == 0 {
		return
	}
	slices.SortFunc(unknown, func(a, b string) int { return s.lines[a] - s.lines[b] })
	slices.Sort(keys)
	s.bad(unknown[0], "is not known; the keys here are %s", strings.Join(keys, ", "))
}
