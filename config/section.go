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

// decoder keeps the first error of a file.
type decoder struct {
	file string
	err  error
}

// fail records an error on a line.
func (d *decoder) fail(line int, path, format string, args ...any) {
	if d.err != nil {
		return
	}
	prefix := fmt.Sprintf("%s:%d: ", d.file, line)
	if path != "" {
		prefix += path + ": "
	}
	d.err = errors.New(prefix + fmt.Sprintf(format, args...))
}

// section is a mapping of the file. Its reading methods leave their target unchanged if the key is absent.
type section struct {
	*decoder
	path  string                // of the mapping; empty for the file itself
	line  int                   // of its key
	nodes map[string]*yaml.Node // the values, by key
	lines map[string]int        // of the keys
}

// section returns the mapping at node, whose key is on the given line. A null is an empty mapping.
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
		d.fail(s.line, path, "want a mapping, got %s", describe(node))
		return s
	}
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if first, duplicate := s.lines[key.Value]; duplicate {
			d.fail(key.Line, s.keyPath(key.Value), "duplicate field, first set on line %d", first)
		}
		s.nodes[key.Value], s.lines[key.Value] = node.Content[i+1], key.Line
	}
	return s
}

// resolve follows an alias.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// describe returns the kind of a node, without its content.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	names := map[string]string{
		"!!str": "a string", "!!int": "an integer", "!!float": "a number", "!!bool": "a boolean",
		"!!null": "null", "!!timestamp": "a date",
	}
	if name, ok := names[node.ShortTag()]; ok {
		return name
	}
	return "a value with a custom tag" // without its name, because an unquoted token that starts with ! is a tag
}

// keyPath returns the path of a key. Text after a colon is omitted, because it is a value, perhaps a secret, without
// the space before it.
func (s *section) keyPath(key string) string {
	if name, _, ok := strings.Cut(key, ":"); ok {
		key = name + ":…"
	}
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// has reports whether the mapping contains the key.
func (s *section) has(key string) bool { return s.nodes[key] != nil }

// keyLine returns the line of a key, or of the section if the key is absent.
func (s *section) keyLine(key string) int {
	if line, ok := s.lines[key]; ok {
		return line
	}
	return s.line
}

// invalid records an error about the value of a key.
func (s *section) invalid(key, format string, args ...any) {
	s.fail(s.keyLine(key), s.keyPath(key), format, args...)
}

// scalar returns the value of a key, which must have one of the given tags.
func (s *section) scalar(key, want string, tags ...string) (string, bool) {
	node := s.nodes[key]
	if node == nil {
		return "", false
	}
	node = resolve(node)
	if node.Kind != yaml.ScalarNode || !slices.Contains(tags, node.ShortTag()) {
		s.invalid(key, "want %s, got %s", want, describe(node))
		return "", false
	}
	return node.Value, true
}

func (s *section) str(key string, dst *string) {
	if value, ok := s.scalar(key, "a string (in quotes if it looks like another type)", "!!str"); ok {
		*dst = value
	}
}

func (s *section) boolean(key string, dst *bool) {
	if value, ok := s.scalar(key, "true or false", "!!bool"); ok {
		*dst = strings.EqualFold(value, "true")
	}
}

// integer reads an integer ≥ minimum.
func (s *section) integer(key string, minimum int, dst *int) {
	want := fmt.Sprintf("an integer of at least %d", minimum)
	value, ok := s.scalar(key, want, "!!int", "!!float")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || int(n) < minimum {
		s.invalid(key, "want %s, got %q", want, value)
		return
	}
	*dst = int(n)
}

// positive reads a finite number above 0.
func (s *section) positive(key string, dst *float64) {
	value, ok := s.scalar(key, "a number above 0", "!!int", "!!float")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 1) {
		s.invalid(key, "want a number above 0, got %q", value)
		return
	}
	*dst = f
}

// duration reads a duration above 0 and of at most a year, so that sums and multiples of durations do not overflow.
func (s *section) duration(key string, dst *model.Duration) {
	value, ok := s.scalar(key, "a duration such as 15m or 1d", "!!str", "!!int")
	if !ok {
		return
	}
	year, _ := model.ParseDuration("1y")
	d, err := model.ParseDuration(value)
	switch {
	case err != nil:
		s.invalid(key, "want a duration such as 15m or 1d, got %q", value)
	case d <= 0 || d > year:
		s.invalid(key, "want a duration above 0 and of at most %s, got %q", year, value)
	default:
		*dst = d
	}
}

// durationOrZero reads a duration like [section.duration], or 0.
func (s *section) durationOrZero(key string, dst *model.Duration) {
	if node := s.nodes[key]; node != nil {
		if d, err := model.ParseDuration(resolve(node).Value); err == nil && d == 0 {
			*dst = 0
			return
		}
	}
	s.duration(key, dst)
}

// list returns the items of the list at a key.
func (s *section) list(key string) []*yaml.Node {
	node := s.nodes[key]
	if node == nil {
		return nil
	}
	node = resolve(node)
	if node.Kind != yaml.SequenceNode && node.Tag != "!!null" {
		s.invalid(key, "want a list, got %s", describe(node))
	}
	return node.Content
}

// sub returns the mapping at a key, an empty one if the key is absent.
func (s *section) sub(key string) *section {
	node := s.nodes[key]
	if node == nil {
		node = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return s.section(node, s.keyLine(key), s.keyPath(key))
}

// checkFields records an error if the mapping contains any other key.
func (s *section) checkFields(valid ...string) {
	unknown := slices.DeleteFunc(slices.Collect(maps.Keys(s.nodes)), func(key string) bool {
		return slices.Contains(valid, key)
	})
	if len(unknown) == 0 {
		return
	}
	first := slices.MinFunc(unknown, func(a, b string) int { return s.lines[a] - s.lines[b] })
	slices.Sort(valid)
	s.invalid(first, "unknown field; valid fields: %s", strings.Join(valid, ", "))
}
