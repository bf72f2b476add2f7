// Package check renders the Helm chart with both supported versions of Helm, and validates it and the manifests for
// kustomize, which are generated from it, with Kubernetes' and the Prometheus operator's own types. It is a module of
// its own, so that the exporter does not depend on them.
package check

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	chart    = "../bilibili-exporter"
	examples = "../../"
)

// versions are the commands of the supported versions of Helm, which are tools of this module.
var versions = []string{"helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v4/cmd/helm"}

var update = flag.Bool("update", false, "write the golden files, and the manifests of the examples for kustomize")

// programs is where TestMain builds the exporter, and each version of Helm with its number as its name.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (status int) {
	var err error
	if programs, err = os.MkdirTemp("", "helm"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	commands := []*exec.Cmd{exec.Command("go", "build", "-o", filepath.Join(programs, "exporter"), ".")}
	commands[0].Dir = "../../.."
	for i, version := range versions {
		commands = append(commands, exec.Command("go", "build", "-o", program(i), version))
	}
	for _, cmd := range commands {
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", cmd, err, out)
			return 1
		}
	}
	return m.Run()
}

// program returns the path of one version of Helm.
func program(version int) string { return filepath.Join(programs, strconv.Itoa(version)) }

// helm runs one version of Helm, without a cluster. An error contains what Helm writes to stderr.
func helm(t *testing.T, version int, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program(version), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+programs, "HELM_CONFIG_HOME="+programs, "HELM_DATA_HOME="+programs,
		"KUBECONFIG=/dev/null")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", versions[version], err, &stderr)
	}
	return stdout.String(), nil
}

// manifest is a file that the chart renders.
type manifest struct{ name, text string }

// source matches the line that Helm writes above each object; its group is the name of the template.
var source = regexp.MustCompile(`(?m)^---\n# Source: \S+/templates/(\S+)\n`)

// render renders the chart with each version of Helm, which must agree.
func render(t *testing.T, args ...string) []manifest {
	t.Helper()
	args = append([]string{"template", "bilibili-exporter", chart}, args...)
	var manifests []manifest
	for version := range versions {
		text, err := helm(t, version, args...)
		if err != nil {
			t.Fatal(err)
		}
		got := split(text)
		if version > 0 && !slices.Equal(got, manifests) {
			t.Errorf("%s renders\n%v\nwant\n%v", versions[version], got, manifests)
		}
		manifests = got
	}
	return manifests
}

// split splits what Helm writes. Helm 3 removes blank lines at the end of a manifest, and Helm 4 does not.
func split(text string) []manifest {
	var manifests []manifest
	matches := source.FindAllStringSubmatchIndex(text, -1)
	for i, match := range matches {
		end := len(text)
		if i+1 < len(matches) {
			end = matches[i+1][0]
		}
		manifests = append(manifests, manifest{text[match[2]:match[3]], strings.TrimSpace(text[match[1]:end]) + "\n"})
	}
	return manifests
}

// values returns the argument that names a file with values.
func values(name string) string { return "--values=" + chart + "/ci/" + name + ".yaml" }

// expectFile compares a generated file with its text, or writes it with -update.
func expectFile(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		write(t, path, want)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s differs from the chart (%v): run make kubernetes", path, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
