package exportertest

import (
	"os"
	"regexp"
	"testing"

	"gopkg.in/yaml.v3"
)

// Exists reports whether the repository has a file or folder.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
