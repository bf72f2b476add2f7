package exportertest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Programs returns the paths of a program in the versions that .ci/tools builds.
func Programs(t *testing.T, name string) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	versions := regexp.MustCompile(`(?m)^`+name+`-\d\S*`).FindAllString(ReadFile(t, ".ci/programs"), -1)
	if len(versions) == 0 {
		t.Fatalf("no %s in .ci/programs", name)
	}
	for i, version := range versions {
		versions[i] = filepath.Join(cache, "bilibili_exporter", "tools", version)
		if !Exists(versions[i]) {
			t.Fatalf("%s is missing: .ci/tools builds it", versions[i])
		}
	}
	return versions
}
