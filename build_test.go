package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// promu is the part of .promu.yml that the tests compare with other files.
type promu struct {
	Go    struct{ Version string }
	Build struct{ Flags, Ldflags string }

	Tarball    struct{ Files []string }
	Crossbuild struct{ Platforms []string }
}

// TestLinkerFlags compares the build flags of make, docker build and promu.
func TestLinkerFlags(t *testing.T) {
	variable := regexp.MustCompile(`-X ([\w./]+)=`)
	var want []string
	for _, name := range []string{"Version", "Revision", "Branch", "BuildUser", "BuildDate"} {
		want = append(want, "github.com/prometheus/common/version."+name)
	}
	for path, flags := range map[string]string{
		"Makefile":   exportertest.Find(t, "Makefile", `LDFLAGS +:=((?:.*\\\n)*.*)`),
		"Dockerfile": exportertest.Find(t, "Dockerfile", `-o /bilibili_exporter -ldflags "((?:.*\\\n)*.*)"`),
		".promu.yml": exportertest.Decode[promu](t, ".promu.yml").Build.Ldflags,
	} {
		var got []string
		for _, match := range variable.FindAllStringSubmatch(flags, -1) {
			got = append(got, match[1])
		}
		if !slices.Equal(got, want) || !strings.Contains(flags, "-s -w") {
			t.Errorf("%s: got linker flags %s, want -s -w and %s", path, flags, want)
		}
		exportertest.Find(t, path, `(-trimpath)`)
		exportertest.Find(t, path, `(CGO_ENABLED=0|cgo: false)`)
	}
}

// TestGoVersions compares the Go version of every build with go.mod.
func TestGoVersions(t *testing.T) {
	want := exportertest.Find(t, "go.mod", `(?m)^go (\d+\.\d+)`)
	versions := map[string]string{
		".promu.yml": exportertest.Decode[promu](t, ".promu.yml").Go.Version,
		"Dockerfile": exportertest.Find(t, "Dockerfile", `FROM .*golang:(\S+)`),
	}
	for _, path := range exportertest.Glob(t, ".github/workflows/*") {
		versions[path] = exportertest.Find(t, path, `go-version: "(.*)"`)
	}
	for path, got := range versions {
		if got != want {
			t.Errorf("%s: got Go %s, want %s as in go.mod", path, got, want)
		}
	}
}

// TestReleases compares the release archives of make and promu.
func TestReleases(t *testing.T) {
	config := exportertest.Decode[promu](t, ".promu.yml")
	for _, file := range config.Tarball.Files {
		if !exportertest.Exists(file) {
			t.Errorf(".promu.yml: %s does not exist", file)
		}
	}
	for variable, want := range map[string][]string{
		"SHIPPED": config.Tarball.Files, "PLATFORMS": config.Crossbuild.Platforms,
	} {
		list := exportertest.Find(t, "Makefile", variable+` +:= ((?:.*\\\n)*.*)`)
		if got := strings.Fields(strings.ReplaceAll(list, "\\\n", " ")); !slices.Equal(got, want) {
			t.Errorf("Makefile: %s is %s, want %s as in .promu.yml", variable, got, want)
		}
	}
}

// TestMakeTargets checks that the Makefile has every target that CI runs.
func TestMakeTargets(t *testing.T) {
	makefile := exportertest.ReadFile(t, "Makefile")
	command := regexp.MustCompile(`(?:run:|step) make ([^#\n]*)`)
	for _, path := range append(exportertest.Glob(t, ".github/workflows/*"), ".ci/run") {
		for _, match := range command.FindAllStringSubmatch(exportertest.ReadFile(t, path), -1) {
			for argument := range strings.FieldsSeq(match[1]) {
				if !strings.Contains(argument, "=") && !strings.Contains(makefile, "\n"+argument+":") {
					t.Errorf("%s: the Makefile has no target %q", path, argument)
				}
			}
		}
	}
}

// TestWorkflows checks what actionlint does not: every action is pinned to a
// commit, and the token of a workflow can only read.
func TestWorkflows(t *testing.T) {
	action := regexp.MustCompile(`(?m)\buses:.*$`)
	pinned := regexp.MustCompile(`^uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, path := range exportertest.Glob(t, ".github/workflows/*") {
		for _, got := range action.FindAllString(exportertest.ReadFile(t, path), -1) {
			if !pinned.MatchString(got) {
				t.Errorf("%s: %q is not pinned to a commit and its version", path, got)
			}
		}
		got := exportertest.Decode[struct{ Permissions map[string]string }](t, path).Permissions
		if want := map[string]string{"contents": "read"}; !maps.Equal(got, want) {
			t.Errorf("%s: got permissions %v, want %v", path, got, want)
		}
	}
}
