package config

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// errSecondDocument is the error of a file with more than one YAML document.
var errSecondDocument = errors.New("want a single YAML document, got a second one (after ---)")

// parseYAML returns the only document of a text. It returns [io.EOF] if there is none, and the second document with
// [errSecondDocument] if there are more.
func parseYAML(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := dec.Decode(&first); err != nil {
		return nil, err
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return &second, errSecondDocument
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return first.Content[0], nil
}

// document returns the only YAML document of a text, or nil after recording a problem.
func (d *decoder) document(text []byte, wantEmpty string) *yaml.Node {
	root, err := parseYAML(text)
	switch {
	case err == nil:
		return root
	case errors.Is(err, errSecondDocument):
		d.fail(root.Line, "", "%v", err)
	case errors.Is(err, io.EOF):
		d.fail(1, "", "the file is empty, want %s", wantEmpty)
	default:
		d.syntaxError(text, err)
	}
	return nil
}

// decodeText returns the content of a file as UTF-8 with a line feed at its end, or false after recording a problem.
func (d *decoder) decodeText(content []byte) ([]byte, bool) {
	content = bytes.TrimPrefix(fromUTF16(content), []byte("\ufeff"))
	line := 1
	for text := range bytes.Lines(content) {
		if !utf8.Valid(text) {
			d.fail(line, "", "the line is not UTF-8; save the file with the encoding UTF-8 (perhaps it is GBK now)")
			return nil, false
		}
		if i := bytes.IndexFunc(text, isControl); i >= 0 {
			d.fail(line, "", "the line has the control character %q; remove it", text[i:i+1])
			return nil, false
		}
		line++
	}
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	return content, true
}

// isControl reports whether a character is not allowed in YAML. Others are found when the file is parsed.
func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }

// fromUTF16 returns text in UTF-16, with a byte order mark as Windows writes it, as UTF-8. It returns other text as it
// is.
func fromUTF16(content []byte) []byte {
	var unit func([]byte) uint16
	switch {
	case bytes.HasPrefix(content, []byte("\xff\xfe")):
		unit = func(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		unit = func(b []byte) uint16 { return uint16(b[1]) | uint16(b[0])<<8 }
	default:
		return content
	}
	var units []uint16
	for i := 2; i+1 < len(content); i += 2 {
		units = append(units, unit(content[i:]))
	}
	return []byte(string(utf16.Decode(units)))
}
