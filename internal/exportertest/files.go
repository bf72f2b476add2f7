package exportertest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// abs returns the absolute path of a file of the repository. "go test" reuses the result of a test unless a file that
// the test has opened has changed, but does not know that [Main] has changed the directory.
func abs(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		panic(err) // the current directory does not exist
	}
	return absolute
}

// Exists reports whether the repository has a file or directory.
func Exists(path string) bool {
	_, err := os.Stat(abs(path))
	return err == nil
}

// Glob returns the files of the repository that match a pattern. There must be one at least.
func Glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(abs(pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	for i, path := range paths {
		if paths[i], err = filepath.Rel(abs("."), path); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// Decode decodes a YAML file of the repository.
func Decode[T any](t *testing.T, path string) (into T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(ReadFile(t, path)), &into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return into
}

// Find returns the first group of the first match in a file.
func Find(t *testing.T, path, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(ReadFile(t, path))
	if match == nil {
		t.Fatalf("%s: nothing matches %s", path, pattern)
	}
	return match[1]
}

// WriteFile writes a file in a new directory and returns its path.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ReadFile returns the text of a file.
func ReadFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(abs(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Replace replaces the first occurrence of a text in a file.
func Replace(t *testing.T, path, old, replacement string) {
	t.Helper()
	text := strings.Replace(ReadFile(t, path), old, replacement, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
