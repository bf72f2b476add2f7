package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems is how many problems an [Error] names.
const maxProblems = 10

// Error is the error of an invalid configuration. It names up to ten problems, sorted by file and line.
type Error struct {
	problems []problem // at least one
}

// problem is one thing that is wrong.
type problem struct {
	file  string
	order int // of the file: the configuration comes first, then the user files
	line  int // starting at 1
	text  string
}

// isAboutUsers reports whether users may be missing because of the problem.
func (p problem) isAboutUsers() bool { return p.order > 0 || strings.HasPrefix(p.text, "user") }

// Lines returns a line of text for each problem.
func (e *Error) Lines() []string {
	var lines []string
	for i, p := range e.problems {
		if i == maxProblems {
			return append(lines, fmt.Sprintf("and %d more", len(e.problems)-i))
		}
		lines = append(lines, fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text))
	}
	return lines
}

// Error returns all problems in a single line, for the log.
func (e *Error) Error() string { return strings.Join(e.Lines(), "; ") }

// problems collects what is wrong with a configuration.
type problems struct{ found []problem }

// err returns an error with all problems, or nil.
func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	slices.SortStableFunc(p.found, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.line, b.line))
	})
	return &Error{slices.Compact(p.found)}
}

// decoder collects the problems of a file.
type decoder struct {
	*problems
	file  string
	order int // see problem
}

// fail records a problem on a line. The path is the key's, and may be empty.
func (d *decoder) fail(line int, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	d.found = append(d.found, problem{file: d.file, order: d.order, line: line, text: text})
}
