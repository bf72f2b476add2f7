package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"gopkg.in/yaml.v3"
)

// pattern is an item of user_files.
type pattern struct {
	glob string
	line int
	path string // of the key
}

// patterns returns the items of user_files.
func patterns(s *section) []pattern {
	var list []pattern
	for i, node := range s.list("user_files", `["creators/*.yml"]`) {
		path := fmt.Sprintf("user_files[%d]", i)
		if node = resolve(node); node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || node.Value == "" {
			s.fail(node.Line, path, "want the path of a file or a pattern such as creators/*.yml, got %s", describe(node, true))
			continue
		}
		list = append(list, pattern{node.Value, node.Line, path})
	}
	return list
}

// userFile is a file with users, as it was read. Without a path nothing matches the pattern.
type userFile struct {
	pattern pattern
	path    string
	content []byte
	err     error
}

// eachUserFile calls f with every file that patterns match, once, and with every pattern that matches none. Relative
// patterns are relative to dir. It writes everything that it calls f with to read, too.
func eachUserFile(dir string, patterns []pattern, read io.Writer, f func(userFile)) {
	seen := make(map[string]bool)
	for _, p := range patterns {
		paths, err := expand(dir, p.glob)
		if len(paths) == 0 {
			fmt.Fprintf(read, "%q %v\n", p.glob, err)
			f(userFile{pattern: p, err: err})
		}
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			content, err := readFile(path, maxConfigSize)
			fmt.Fprintf(read, "%q %d %v\n", path, len(content), err)
			read.Write(content) //nolint:errcheck // a hash does not fail
			f(userFile{p, path, content, err})
		}
	}
}

// expand returns the files that match a pattern, sorted by name. A path without wildcards matches itself.
func expand(dir, glob string) ([]string, error) {
	prefix := ""
	if !filepath.IsAbs(glob) {
		prefix = dir
	}
	if !strings.ContainsAny(glob, "*?[") {
		return []string{filepath.Join(prefix, glob)}, nil
	}
	if strings.Contains(glob, "**") {
		return nil, errors.New("** is not supported; write a pattern for each depth, such as creators/*/*.yml")
	}
	full := filepath.Join(escape(prefix), glob)
	paths, err := filepath.Glob(full)
	if err != nil {
		return nil, errors.New("invalid pattern: a [ is not closed")
	}
	if len(paths) == 0 {
		return nil, readable(filepath.Join(prefix, fixedPart(glob)))
	}
	return visible(full, paths), nil
}

// escape returns a pattern that matches a path only.
func escape(path string) string {
	if runtime.GOOS == "windows" {
		return path // has no escapes
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// fixedPart returns the directories of a pattern above the first wildcard.
func fixedPart(glob string) string {
	before := glob[:strings.IndexAny(glob, "*?[")]
	return before[:strings.LastIndexAny(before, `/`+string(filepath.Separator))+1]
}

// readable reports why a directory cannot be searched for files. One that does not exist is like an empty one.
func readable(dir string) error {
	if dir == "" {
		dir = "."
	}
	if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// visible removes paths in which a wildcard matches a name that starts with a dot, like a shell does. Such files belong
// to editors, and such directories are how Kubernetes replaces all files of a volume at once.
func visible(glob string, paths []string) []string {
	separator := string(filepath.Separator)
	wanted := strings.Split(filepath.Clean(glob), separator)
	var kept []string
	for _, path := range paths {
		hidden := false
		for i, name := range strings.Split(filepath.Clean(path), separator) {
			hidden = hidden || strings.HasPrefix(name, ".") && i < len(wanted) && !strings.HasPrefix(wanted[i], ".")
		}
		if !hidden {
			kept = append(kept, path)
		}
	}
	return kept
}

// addUserFiles decodes the files of user_files.
func (p *parser) addUserFiles(dir string, read io.Writer) {
	order := 0
	eachUserFile(dir, p.patterns, read, func(f userFile) {
		order++
		switch {
		case f.err != nil:
			p.fail(f.pattern.line, f.pattern.path, "%s", fileError(f.err))
		case f.path == "":
			p.config.warn("%s: the pattern %q matches no file.", f.pattern.path, f.pattern.glob)
		default:
			p.addUserFile(&decoder{p.problems, f.path, order}, f.content)
		}
	})
}

// addUserFile decodes a file that is a list of users.
func (p *parser) addUserFile(d *decoder, content []byte) {
	text, ok := d.decodeText(content)
	if !ok {
		return
	}
	before := len(p.users)
	if list, ok := cutList(text); ok && p.addPart(d, list) == nil && len(p.users) > before {
		return
	}
	root := d.document(text, "a list of users such as "+exampleUser+", or [] for none")
	if root == nil {
		return
	}
	if root.Kind == yaml.MappingNode && len(root.Content) > 0 && root.Content[0].Value == "users" {
		d.fail(root.Line, "", "want a list of users, got a mapping; remove the key users, the file holds its value")
	} else if root.Kind != yaml.SequenceNode {
		d.fail(root.Line, "", "want a list of users such as %s, got %s", exampleUser, describe(root, true))
	} else {
		p.addAll(d, root.Content)
	}
}
