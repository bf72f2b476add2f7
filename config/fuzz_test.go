package config

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

// FuzzParts looks for configurations that mean something else when their users are decoded in parts.
func FuzzParts(f *testing.F) {
	f.Add("users:\n  - 2\n  - {wmid: 3}\napi: {token: x}\n")
	f.Add("api: {token: \"x\nusers:\n- 2\n\"}\n")
	f.Add("users:\n- wmid: 2\n  name: |\n   - 3\n- 'a\n- b'\n# x\n\nmax_age: 1h\nusers: *a\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		valid, ok := (&decoder{problems: &problems{}}).decodeText([]byte(text))
		if !ok {
			return
		}
		rest, list, ok := cutUsers(valid)
		list.partSize = 1 // every item is a part
		parts, whole := newParser("b.yml"), newParser("b.yml")
		if !ok || !parts.decodeParts(rest, list) {
			return
		}
		whole.decodeWhole(valid)
		if whole.config == nil || !reflect.DeepEqual(parts.users, whole.users) ||
			!reflect.DeepEqual(parts.config, whole.config) || !reflect.DeepEqual(texts(parts), texts(whole)) {
			t.Errorf("in parts: %+v, %v; as a whole: %+v, %v", parts.users, parts.err(), whole.users, whole.err())
		}
	})
}

// texts returns the problems as texts.
func texts(p *parser) []string {
	var lines []string
	for _, found := range p.found {
		lines = append(lines, found.text)
	}
	return lines
}

// FuzzUserFile looks for panics, for invalid user files that are accepted, and for ones that mean something else when
// they are decoded in parts.
func FuzzUserFile(f *testing.F) {
	f.Add("- 2\n- wmid: 3\n  labels: {a: b}\n")
	f.Add("---\n[2, {wmid: '3'}]\n")
	f.Add("users:\n  - 2\n")
	f.Add("- &a {name: x}\n- {<<: *a, wmid: 1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := newParser("b.yml")
		p.minInterval = p.config.Quota.MinInterval
		p.addUserFile(&decoder{p.problems, "a.yml", 1}, []byte(text))
		p.checkDuplicates()
		if err := p.err(); err != nil {
			if !strings.HasPrefix(err.Error(), "a.yml:") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error names no line or has several: %v", err)
			}
			return
		}
		for _, user := range p.users {
			if user.WMID <= 0 || user.Name == "" {
				t.Errorf("not valid: %+v", user)
			}
		}
		indented := "api: {token: x}\nusers:\n" + strings.TrimSuffix(strings.TrimPrefix(text, "\ufeff"), "\n") + "\n"
		if c := parseConfig("b.yml", []byte(indented), io.Discard); c.err() == nil && strings.HasPrefix(text, "- ") &&
			!reflect.DeepEqual(c.users, p.users) {
			t.Errorf("as users: %+v, as a file: %+v", c.users, p.users)
		}
	})
}
