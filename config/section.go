package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// section is a mapping of the file. Its reading methods leave their target unchanged if the key is absent.
type section struct {
	*decoder
	path   string // of the mapping; empty for the file itself
	line   int    // of its key
	fields []field
	secret bool // whether values may be secret and must not be shown
}

// field is a key of a mapping with its value.
type field struct {
	key  string
	line int // of the key
	node *yaml.Node
}

// maxFields is the maximum number of keys in a mapping. Looking up a key takes time in proportion to their number.
const maxFields = 1000

// section returns the mapping at node, whose key is on the given line. A null is an empty mapping.
func (d *decoder) section(node *yaml.Node, line int, path string) *section {
	s := &section{decoder: d, path: path, line: line}
	node = resolve(node)
	if node.Tag == "!!null" {
		return s
	}
	if node.Kind != yaml.MappingNode {
		d.fail(line, path, "want a mapping (key: value), got %s", describe(node, false))
		return s
	}
	if len(node.Content) > 2*maxFields {
		d.fail(line, path, "want at most %d keys, got %d", maxFields, len(node.Content)/2)
		return s
	}
	s.addFields(node)
	return s
}

// addFields adds the keys of a mapping, and those of mappings that it merges.
func (s *section) addFields(node *yaml.Node) {
	own := len(s.fields)
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		switch first := s.field(key.Value); {
		case key.Kind == yaml.MappingNode:
			s.fail(key.Line, s.path, "want a key, got a mapping; a template such as {{ … }} must be filled in first")
		case key.Kind != yaml.ScalarNode:
			s.fail(key.Line, s.path, "want a key, got %s", describe(key, false))
		case first != nil:
			s.fail(key.Line, s.keyPath(key.Value), "duplicate field, first set on line %d", first.line)
		default:
			s.fields = append(s.fields, field{key.Value, key.Line, node.Content[i+1]})
		}
	}
	for i := own; i < len(s.fields); i++ {
		if f := s.fields[i]; f.key == "<<" {
			s.fields = slices.Delete(s.fields, i, i+1)
			s.merge(f, f.node)
			return
		}
	}
}

// merge adds the keys of mappings that a merge key names. Existing keys win.
func (s *section) merge(f field, node *yaml.Node) {
	node = resolve(node)
	if node.Kind == yaml.SequenceNode {
		for _, item := range node.Content {
			if item = resolve(item); item.Kind != yaml.MappingNode {
				s.fail(f.line, s.keyPath(f.key), "want an alias of a mapping, got %s", describe(item, false))
				return
			}
			s.mergeMapping(f, item)
		}
		return
	}
	if node.Kind != yaml.MappingNode {
		s.fail(f.line, s.keyPath(f.key), "want an alias of a mapping, got %s", describe(node, false))
		return
	}
	s.mergeMapping(f, node)
}

func (s *section) mergeMapping(f field, node *yaml.Node) {
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		switch {
		case key.Value == "<<":
			s.fail(f.line, s.keyPath(f.key), "the merged mapping has a merge key (line %d), which is not supported", key.Line)
		case key.Kind == yaml.ScalarNode && s.field(key.Value) == nil && len(s.fields) < maxFields:
			s.fields = append(s.fields, field{key.Value, key.Line, node.Content[i+1]})
		}
	}
}

// resolve follows an alias.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// field returns a key with its value, or nil.
func (s *section) field(key string) *field {
	for i := range s.fields {
		if s.fields[i].key == key {
			return &s.fields[i]
		}
	}
	return nil
}

// node returns the value of a key, or nil.
func (s *section) node(key string) *yaml.Node {
	if f := s.field(key); f != nil {
		return resolve(f.node)
	}
	return nil
}

// keyPath returns the path of a key. Text after a colon is omitted, because it is a value, perhaps a secret, without
// the space before it.
func (s *section) keyPath(key string) string {
	if name, _, ok := cutColon(key); ok {
		key = name + ":…"
	}
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// has reports whether the mapping contains the key.
func (s *section) has(key string) bool { return s.field(key) != nil }

// keyLine returns the line of a key, or of the section if the key is absent.
func (s *section) keyLine(key string) int {
	if f := s.field(key); f != nil {
		return f.line
	}
	return s.line
}

// invalid records a problem with the value of a key.
func (s *section) invalid(key, format string, args ...any) {
	s.fail(s.keyLine(key), s.keyPath(key), format, args...)
}

// shows reports whether the value of a key may be shown.
func (s *section) shows(key string) bool { return !s.secret && key != "token" && key != "base_url" }

// scalar returns the value of a key, which must have one of the given tags.
func (s *section) scalar(key, want string, tags ...string) (string, bool) {
	node := s.node(key)
	if node == nil {
		return "", false
	}
	if node.Kind != yaml.ScalarNode || !slices.Contains(tags, node.ShortTag()) {
		s.invalid(key, "want %s, got %s", want, describe(node, s.shows(key)))
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
		s.invalid(key, "want %s, got %q%s", want, value, hint(value))
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
	value, ok := s.scalar(key, "a duration such as 15m or 1d", "!!str", "!!int", "!!float")
	if !ok {
		return
	}
	year, _ := model.ParseDuration("1y")
	d, err := model.ParseDuration(value)
	switch {
	case err != nil:
		s.invalid(key, "want a duration such as 15m or 1d, got %q%s", shorten(value), durationHint(value))
	case d <= 0 || d > year:
		s.invalid(key, "want a duration above 0 and of at most %s, got %q", year, value)
	default:
		*dst = d
	}
}

// durationOrZero reads a duration like [section.duration], or 0.
func (s *section) durationOrZero(key string, dst *model.Duration) {
	if node := s.node(key); node != nil {
		if d, err := model.ParseDuration(node.Value); err == nil && d == 0 {
			*dst = 0
			return
		}
	}
	s.duration(key, dst)
}

// list returns the items of the list at a key.
func (s *section) list(key, example string) []*yaml.Node {
	node := s.node(key)
	if node == nil {
		return nil
	}
	if node.Kind != yaml.SequenceNode && node.Tag != "!!null" {
		s.invalid(key, "want a list such as %s, got %s", example, describe(node, true))
		return nil
	}
	return node.Content
}

// sub returns the mapping at a key, an empty one if the key is absent.
func (s *section) sub(key string) *section {
	f := s.field(key)
	if f == nil {
		return &section{decoder: s.decoder, path: s.keyPath(key), line: s.line, secret: s.secret}
	}
	sub := s.section(f.node, f.line, s.keyPath(key))
	sub.secret = s.secret
	return sub
}

// checkFields records every key of the mapping that is not valid.
func (s *section) checkFields(valid ...string) {
	for _, f := range s.fields {
		if slices.Contains(valid, f.key) {
			continue
		}
		remedy := "; valid fields: " + strings.Join(slices.Sorted(slices.Values(valid)), ", ")
		if _, value, ok := cutColon(f.key); ok && value != "" {
			remedy = "; write a colon and a space (key: value)" + remedy
		} else if home, ok := homes[f.key]; ok && home != s.path {
			remedy = "; it belongs in the section " + home
		}
		s.invalid(f.key, "unknown field%s", remedy)
	}
}

// homes are the sections of keys that exist in a single one.
var homes = map[string]string{
	"environment": "api", "base_url": "api", "token": "api", "token_file": "api", "timeout": "api",
	"max_concurrency": "api", "max_requests_per_second": "api", "balance_interval": "api", "http_client": "api",
	"proxy_url": "api.http_client", "no_proxy": "api.http_client", "tls_config": "api.http_client",
	"ca_file": "api.http_client.tls_config", "cert_file": "api.http_client.tls_config",
	"key_file": "api.http_client.tls_config", "insecure_skip_verify": "api.http_client.tls_config",
	"retry_interval": "quota", "daily_limit": "quota", "time_zone": "quota",
}
