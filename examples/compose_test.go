package examples

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// compose is the part of docker-compose.yml that the exporter and the other examples depend on.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

type service struct {
	Build struct {
		Context, Dockerfile, Target string
	}
	User        string
	Command     []string
	Volumes     []string
	Ports       []string
	Environment map[string]string
	StopTimeout time.Duration `yaml:"stop_grace_period"`
	ReadOnly    bool          `yaml:"read_only"`
	CapDrop     []string      `yaml:"cap_drop"`
	Networks    map[string]struct{ Aliases []string }
	Extends     struct{ File, Service string }
}

func load(t *testing.T) compose {
	t.Helper()
	return exportertest.Decode[compose](t, "examples/docker-compose.yml")
}

// TestCompose compares the services of the exporter and the demo with the programs and their images.
func TestCompose(t *testing.T) {
	c := load(t)
	exporter, demo := c.Services["exporter"], c.Services["demo"]
	exportertest.ExpectArgs(t, exporter.Command, "--storage.path=/data")
	exportertest.ExpectConfig(t, "examples/compose/exporter/bilibili_exporter.yml", "/run/secrets/token",
		"creators/*.yml", "examples/compose/exporter/creators/creators.yml")
	exportertest.ExpectIgnored(t, filepath.Join("examples", c.Secrets["token"].File))
	image := "\n" + exportertest.ReadFile(t, "Dockerfile")
	port := exportertest.DefaultPort(t)
	published := []string{"127.0.0.1:" + port + ":" + port}
	for name, s := range map[string]service{"exporter": exporter, "demo": demo} {
		exportertest.ExpectStopTimeout(t, s.StopTimeout)
		if !slices.Equal(s.Ports, published) || !slices.Contains(s.Networks["default"].Aliases, "exporter") ||
			!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !strings.Contains(image, "\nUSER "+s.User+"\n") ||
			!exportertest.Exists(filepath.Join("examples", s.Build.Context, s.Build.Dockerfile)) {
			t.Errorf("%s: got %+v", name, s)
		}
	}
	command := fmt.Sprintf("%q", demo.Command)
	if !strings.Contains(image, " AS "+demo.Build.Target+"\n") || !strings.Contains(image, "CMD "+command) {
		t.Errorf("the Dockerfile has no stage %q that runs %s", demo.Build.Target, command)
	}
	flag, address, _ := strings.Cut(demo.Command[0], "=")
	exportertest.Find(t, "examples/demo/main.go", `(flag\.String\("`+regexp.QuoteMeta(strings.TrimPrefix(flag, "-"))+`")`)
	if want := "0.0.0.0:" + port; address != want {
		t.Errorf("the demo listens on %s, want %s", address, want)
	}
}

// TestComposePostgres checks what compose/postgres.yml changes: two exporters share a database, and Prometheus scrapes
// both.
func TestComposePostgres(t *testing.T) {
	c := exportertest.Decode[compose](t, "examples/compose/postgres.yml")
	port := exportertest.DefaultPort(t)
	var listening []string
	for _, name := range []string{"exporter", "exporter2"} {
		s := c.Services[name]
		exportertest.ExpectArgs(t, s.Command, "--storage.url="+
			"postgres://"+c.Services["postgres"].Environment["POSTGRES_USER"]+"@postgres/bilibili_exporter?sslmode=disable")
		password := s.Environment["PGPASSWORD"]
		if password == "" || password != c.Services["postgres"].Environment["POSTGRES_PASSWORD"] {
			t.Errorf("%s has the password %q", name, password)
		}
		listening = append(listening, name+":"+port)
	}
	exportertest.ExpectIgnored(t, "examples/.env")
	if extended := c.Services["exporter2"].Extends; extended.Service != "exporter" ||
		!exportertest.Exists("examples/"+extended.File) {
		t.Errorf("the second exporter extends %+v", extended)
	}
	if got := c.Services["exporter2"].Ports; len(got) != 1 || !strings.HasSuffix(got[0], ":"+port) ||
		slices.Contains(load(t).Services["exporter"].Ports, got[0]) {
		t.Errorf("the second exporter publishes %s", got)
	}
	source, target, _ := strings.Cut(c.Services["prometheus"].Volumes[0], ":")
	var targets []string
	for _, group := range exportertest.Decode[[]struct{ Targets []string }](t, filepath.Join("examples", source)) {
		targets = append(targets, group.Targets...)
	}
	if !slices.Equal(targets, listening) || target != "/etc/prometheus/targets/exporter.yml:ro" {
		t.Errorf("%s contains %s, want %s", target, targets, listening)
	}
}

// TestComposeMounts checks that every path in a command line or environment is mounted from an existing file.
func TestComposeMounts(t *testing.T) {
	c := load(t)
	for name, s := range c.Services {
		sources := make(map[string]string) // by the path in the container; empty for a named volume
		for _, volume := range s.Volumes {
			source, target, _ := strings.Cut(volume, ":")
			target, _, _ = strings.Cut(target, ":")
			if _, named := c.Volumes[source]; named {
				sources[target] = ""
				continue
			}
			sources[target] = filepath.Join("examples", source)
			if !strings.HasPrefix(source, "./") || !exportertest.Exists(sources[target]) {
				t.Errorf("%s: there is no %s", name, source)
			}
		}
		paths := slices.Collect(maps.Values(s.Environment))
		if name == "grafana" {
			paths = append(paths, dashboardPaths(t)...)
		}
		for _, arg := range s.Command {
			_, value, _ := strings.Cut(arg, "=")
			paths = append(paths, value)
		}
		for _, path := range paths {
			if strings.HasPrefix(path, "/") && !mounted(sources, path) {
				t.Errorf("%s: nothing is mounted at %s", name, path)
			}
		}
	}
}

// dashboardPaths returns the directories from which Grafana loads dashboards.
func dashboardPaths(t *testing.T) []string {
	t.Helper()
	type providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	const path = "examples/grafana/provisioning/dashboards/bilibili.yml"
	var paths []string
	for _, p := range exportertest.Decode[providers](t, path).Providers {
		paths = append(paths, p.Options.Path)
	}
	return paths
}

// mounted reports whether a path in a container exists in one of its mounts.
func mounted(sources map[string]string, path string) bool {
	for target, source := range sources {
		rest, err := filepath.Rel(target, path)
		if err != nil || strings.HasPrefix(rest, "..") {
			continue
		}
		if source == "" || exportertest.Exists(filepath.Join(source, rest)) {
			return true
		}
	}
	return false
}

// TestComposeTargets compares the addresses that Prometheus and Grafana connect to with the services.
func TestComposeTargets(t *testing.T) {
	var listening, targets []string
	for name, s := range load(t).Services {
		for _, published := range s.Ports {
			listening = append(listening, name+published[strings.LastIndex(published, ":"):])
		}
	}
	paths := exportertest.Glob(t, "examples/compose/targets/*.yml")
	for _, path := range paths {
		for _, group := range exportertest.Decode[[]struct{ Targets []string }](t, path) {
			targets = append(targets, group.Targets...)
		}
	}
	for _, path := range exportertest.Glob(t, "examples/grafana/provisioning/datasources/*") {
		for _, source := range exportertest.Decode[struct{ Datasources []struct{ URL string } }](t, path).Datasources {
			targets = append(targets, strings.TrimPrefix(source.URL, "http://"))
		}
	}
	for _, target := range targets {
		if !slices.Contains(listening, target) {
			t.Errorf("no service listens on %s", target)
		}
	}
	config := exportertest.ReadFile(t, "examples/prometheus/prometheus.yml")
	named := regexp.MustCompile(`files: \[(targets/[\w.]+)\]`).FindAllStringSubmatch(config, -1)
	if len(named) != len(paths) {
		t.Errorf("prometheus.yml reads %d files of targets, want %d", len(named), len(paths))
	}
	for _, match := range named {
		for _, directory := range []string{"examples/compose/", "examples/prometheus/"} {
			if !exportertest.Exists(directory + match[1]) {
				t.Errorf("there is no %s", directory+match[1])
			}
		}
	}
}
