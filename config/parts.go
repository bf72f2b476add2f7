package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"runtime"
	"slices"
	"sync"

	"gopkg.in/yaml.v3"
)

// block is the text of a YAML list, one item per line or several. Thousands of users are decoded from it in parts,
// because the nodes of a whole list take fifty times the memory of its text.
type block struct {
	text     []byte
	line     int // of the text's first line in the file
	partSize int // at which a part ends, in bytes
}

const defaultPartSize = 16 << 10

var usersKey = regexp.MustCompile(`(?m)^users:[ \t]*(#.*)?\r?\n`)

// isBlockLine reports whether a line can belong to a list at the left margin or further right.
func isBlockLine(line []byte) bool {
	return bytes.IndexByte([]byte(" #\r\n"), line[0]) >= 0 || isItem(line)
}

// isItem reports whether text starts with the dash of an item.
func isItem(text []byte) bool {
	return len(text) > 1 && text[0] == '-' && bytes.IndexByte([]byte(" \r\n"), text[1]) >= 0
}

// cutUsers splits the text of a configuration into the list of users and the rest, which keeps its lines.
func cutUsers(text []byte) (rest []byte, users block, ok bool) {
	key := usersKey.FindIndex(text)
	if key == nil {
		return nil, block{}, false
	}
	end := key[1]
	for line := range bytes.Lines(text[key[1]:]) {
		if !isBlockLine(line) {
			break
		}
		end += len(line)
	}
	users = block{text[key[1]:end], bytes.Count(text[:key[1]], []byte("\n")) + 1, defaultPartSize}
	rest = append(rest, text[:key[1]]...)
	rest = append(rest, bytes.Repeat([]byte("\n"), bytes.Count(users.text, []byte("\n")))...)
	return append(rest, text[end:]...), users, true
}

// isCut reports whether the rest of a configuration has the key of the list of users where [cutUsers] found it, without
// a value. If not, the text only looks as if it had the list there, for example within quotes.
func (b block) isCut(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return false
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Value == "users" && key.Line == b.line-1 && value.Tag == "!!null" && value.Anchor == "" {
			return true
		}
	}
	return false
}

// cutList returns the list that is all of a file.
func cutList(text []byte) (block, bool) {
	b := block{text, 1, defaultPartSize}
	if rest, ok := bytes.CutPrefix(text, []byte("---\n")); ok {
		b = block{rest, 2, defaultPartSize}
	}
	for line := range bytes.Lines(b.text) {
		if !isBlockLine(line) {
			return block{}, false
		}
	}
	return b, true
}

// errWhole is the error of a list that cannot be decoded in parts, because it is invalid or an alias connects them.
var errWhole = errors.New("the list must be decoded as a whole")

// each calls f with every item, in order. f must not keep the nodes, which are garbage soon. After [errWhole] the calls
// do not count. As many parts as there are CPUs are parsed at a time, because that takes most of the time of loading a
// configuration.
func (b block) each(f func(item *yaml.Node)) error {
	line := b.line
	for parts := range slices.Chunk(slices.Collect(b.parts), runtime.GOMAXPROCS(0)) {
		for i, list := range parseAll(parts) {
			if list == nil {
				return errWhole
			}
			for _, item := range list.Content {
				addLines(item, line-1)
				f(item)
			}
			line += bytes.Count(parts[i], []byte("\n"))
		}
	}
	return nil
}

// parseAll parses parts at the same time. The result is nil for a part that is not a list.
func parseAll(parts [][]byte) []*yaml.Node {
	lists := make([]*yaml.Node, len(parts))
	var parsers sync.WaitGroup
	for i, part := range parts {
		parsers.Go(func() {
			list, err := parseYAML(part)
			switch {
			case errors.Is(err, io.EOF): // only comments
				lists[i] = &yaml.Node{}
			case err == nil && list.Kind == yaml.SequenceNode && list.Style&yaml.FlowStyle == 0:
				lists[i] = list
			}
		})
	}
	parsers.Wait()
	return lists
}

// parts yields the text in parts. Every part but the first starts with an item. Since nothing that starts in an item
// can end at a line like that of the next item, except within quotes or brackets, parts that are valid alone are valid
// together.
func (b block) parts(yield func([]byte) bool) {
	const unknown = -1
	first, size := unknown, 0 // first is the indentation of the first item
	rest := b.text
	for line := range bytes.Lines(b.text) {
		item := bytes.TrimLeft(line, " ")
		indent := len(line) - len(item)
		if first == unknown && isItem(item) {
			first = indent
		}
		if size >= b.partSize && indent == first && isItem(item) {
			if !yield(rest[:size]) {
				return
			}
			rest, size = rest[size:], 0
		}
		size += len(line)
	}
	yield(rest)
}

// addLines moves a node down by a number of lines.
func addLines(node *yaml.Node, lines int) {
	node.Line += lines
	for _, child := range node.Content {
		addLines(child, lines)
	}
}
