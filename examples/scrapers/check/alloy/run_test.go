//go:build alloy

package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs config.alloy with Alloy's components. Compiling them takes minutes the first time.
func TestRun(t *testing.T) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	copyDir(t, download(t), source)
	syntax, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f={{.Dir}}",
		"github.com/grafana/alloy/syntax").Output()
	if err != nil {
		t.Fatal(err)
	}
	copyDir(t, strings.TrimSpace(string(syntax)), filepath.Join(source, "syntax")) // a module that Alloy expects there
	copyDir(t, "testdata", filepath.Join(source, "run"))

	// The syntax needs newer versions of some modules than Alloy.
	test := exec.CommandContext(t.Context(), "go", "test", "-mod=mod", "-trimpath", "-vet=off", "-tags=remove_all_sd",
		"-count=1", "-v", "./run")
	test.Dir = source
	test.Env = append(os.Environ(), "CONFIG="+filepath.Join(root, "examples/scrapers/config.alloy"),
		"EXPOSITION="+filepath.Join(root, "collector/testdata/failure-after-success.metrics"))
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	if err := test.Run(); err != nil {
		t.Error(err)
	}
}

// copyDir copies a directory, whose files can be read-only.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
