package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxConfigSize is the maximum size of a configuration and of a user file, in bytes: some 100,000 users.
const maxConfigSize = 8 << 20

// Loader reads a configuration file again and again, and notices when it or a user file has changed. It is safe for
// concurrent use.
type Loader struct {
	path string

	mu    sync.Mutex        // protects the following fields
	first bool              // whether nothing has been read yet
	piped []byte            // content of the file if it is a pipe, which can be read only once
	sum   [sha256.Size]byte // of what the last Load has read
}

// NewLoader returns a loader of the configuration file at path.
func NewLoader(path string) *Loader { return &Loader{path: path, first: true} }

// Load reads the configuration file at path. A token that the file does not set comes from the environment variable
// [TokenVariable]. If the configuration is invalid, the error is an [*Error].
func Load(path string) (*Config, error) { return NewLoader(path).Load() }

// Load is like the function [Load]. A configuration that is a pipe is read the first time only; later calls use what it
// contained, and read the other files again.
func (l *Loader) Load() (*Config, error) {
	read := sha256.New()
	content, err := l.read(read)
	if err != nil {
		l.finish(read)
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	p := parseConfig(l.path, content, read)
	l.finish(read)
	if p.config != nil {
		p.checkFiles()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	l.warn(p.config)
	return p.config, nil
}

// Changed reports whether the configuration or its user files are not what the last Load has read.
func (l *Loader) Changed() bool {
	read := sha256.New()
	if content, err := l.read(read); err == nil {
		eachUserFile(filepath.Dir(l.path), findPatterns(content), read, func(userFile) {})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum != [sha256.Size]byte(read.Sum(nil))
}

// read returns the content of the configuration file, which it writes to a hash, too.
func (l *Loader) read(read hash.Hash) ([]byte, error) {
	l.mu.Lock()
	content, first := l.piped, l.first
	l.mu.Unlock()
	var err error
	if content == nil {
		content, err = l.readFile(first)
	}
	fmt.Fprintf(read, "%d %v\n", len(content), err)
	read.Write(content)
	return content, err
}

// readFile reads the configuration file. It can be a pipe the first time.
func (l *Loader) readFile(first bool) ([]byte, error) {
	info, err := os.Stat(l.path)
	if err != nil || !first || info.Mode()&fs.ModeNamedPipe == 0 {
		return readFile(l.path, maxConfigSize)
	}
	pipe, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	content, err := io.ReadAll(io.LimitReader(pipe, maxConfigSize+1))
	if err == nil && len(content) > maxConfigSize {
		err = fmt.Errorf("%s is larger than %d bytes", l.path, maxConfigSize)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.piped = append([]byte{}, content...)
	return content, nil
}

// finish remembers what a Load has read.
func (l *Loader) finish(read hash.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.sum = false, [sha256.Size]byte(read.Sum(nil))
}

// warn adds the warnings about the file itself.
func (l *Loader) warn(c *Config) {
	info, err := os.Stat(l.path)
	if err == nil && info.Mode().IsRegular() && c.API.tokenInFile && info.Mode().Perm()&0o004 != 0 {
		c.warn("%s contains the token and is readable by every user of this machine. "+
			"Run chmod o-r on it, or use api.token_file or %s.", l.path, TokenVariable)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.piped != nil {
		c.warn("%s is a pipe, which can be read only once. "+
			"A reload reads user files again, but to change the configuration itself, restart the exporter.", l.path)
	}
}

// findPatterns returns the items of user_files in the content of a configuration. Without valid YAML there are none.
func findPatterns(content []byte) []pattern {
	d := &decoder{problems: &problems{}}
	text, ok := d.decodeText(content)
	if !ok {
		return nil
	}
	if rest, users, ok := cutUsers(text); ok {
		if root, err := parseYAML(rest); err == nil && users.isCut(root) {
			return patterns(d.section(root, 1, ""))
		}
	}
	root, err := parseYAML(text)
	if err != nil {
		return nil
	}
	return patterns(d.section(root, 1, ""))
}

// readFile reads a regular file of at most maxSize bytes, because other files could block the reader or fill its
// memory.
func readFile(path string, maxSize int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory, want a file", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSize)
	}
	return os.ReadFile(path)
}

// fileError describes why a file cannot be used.
func fileError(err error) string {
	var failed *fs.PathError
	switch {
	case !errors.As(err, &failed):
		return err.Error()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%s: %v; the user that runs the exporter must be able to read it", failed.Path, failed.Err)
	default:
		return fmt.Sprintf("%s: %v", failed.Path, failed.Err)
	}
}
