package helm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// The module in the directory check renders the chart, and tests what does not depend on the exporter.

const (
	chart = "examples/helm/bilibili-exporter/"
	full  = "examples/helm/check/testdata/full.yaml" // the chart, rendered with ci/full.yaml
)

// object is the part of an object that the exporter depends on.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct {
			Spec struct {
				Containers []struct{ Args []string }
				Volumes    []struct {
					Projected struct{ Sources []projection }
				}
			}
		}
	}
}

type projection struct {
	ConfigMap source `yaml:"configMap"`
	Secret    source
}

// source is a ConfigMap or Secret, and the paths of its keys.
type source struct {
	Name  string
	Items []struct{ Key, Path string }
}

// load returns the objects of a file with many of them.
func load(t *testing.T, path string) []object {
	t.Helper()
	var objects []object
	decoder := yaml.NewDecoder(strings.NewReader(exportertest.ReadFile(t, path)))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

// mount writes the files of the volume with the configuration, with links as the kubelet does, and returns their
// directory.
func mount(t *testing.T, objects []object) string {
	t.Helper()
	dir := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(dir, "..data", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	configMaps := make(map[string]map[string]string)
	var sources []projection
	for _, o := range objects {
		switch o.Kind {
		case "ConfigMap":
			configMaps[o.Metadata.Name] = o.Data
		case "Deployment":
			sources = o.Spec.Template.Spec.Volumes[0].Projected.Sources
		}
	}
	for _, s := range sources {
		for _, item := range s.ConfigMap.Items {
			put(item.Path, configMaps[s.ConfigMap.Name][item.Key])
		}
		for _, item := range s.Secret.Items {
			put(item.Path, "a-token\n")
		}
		if s.ConfigMap.Items == nil {
			for key, text := range configMaps[s.ConfigMap.Name] {
				put(key, text)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.Symlink(filepath.Join("..data", entry.Name()), filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestConfig loads the rendered configuration: Helm must not have changed a WMID, name or label.
func TestConfig(t *testing.T) {
	cfg, err := config.Load(filepath.Join(mount(t, load(t, full)), "bilibili_exporter.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, user := range cfg.Users {
		got = append(got, fmt.Sprintf("%d %s %v", user.WMID, user.Name, user.Labels))
	}
	want := []string{
		"472747194 472747194 map[]", "3546564939877816 3546564939877816 map[]", "9007199254740991 9007199254740991 map[]",
		"9007199254740993 9007199254740993 map[]", "9223372036854775807 9223372036854775807 map[]",
		"9007199254740995 1e3 map[agency:007 since:2020-01-01]",
		"9007199254740997 9007199254740997 map[]", "9223372036854775806 {{ not a template }} map[]",
		"3546564939877817 碧诗 😀 map[]", "2 2 map[]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if cfg.Quota.DailyLimit != 1_000_000 || cfg.API.MaxRequestsPerSecond != 0.5 {
		t.Errorf("got %+v and %+v", cfg.Quota, cfg.API)
	}
}

// TestArgs checks that the exporter has all flags that the chart uses.
func TestArgs(t *testing.T) {
	for _, o := range load(t, full) {
		if o.Kind == "Deployment" {
			exportertest.ExpectArgs(t, o.Spec.Template.Spec.Containers[0].Args, "--storage.path=/data")
			return
		}
	}
	t.Error("there is no Deployment")
}

// row matches a row of the table of values; its groups are the key and the default.
var row = regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\| (?:`(.*?)` )?\\|")

// TestValues compares the values and their defaults in the documents with values.yaml.
func TestValues(t *testing.T) {
	want := make(map[string]string)
	flatten("", exportertest.Decode[map[string]any](t, chart+"values.yaml"), want)
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		got := make(map[string]string)
		for _, match := range row.FindAllStringSubmatch(exportertest.ReadFile(t, chart+name), -1) {
			got[match[1]] = match[2]
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if value, ok := got[key]; !ok || value != want[key] {
				t.Errorf("%s: %s is %q, want %q", name, key, value, want[key])
			}
			delete(got, key)
		}
		for key := range got {
			t.Errorf("%s: there is no value %s", name, key)
		}
	}
}

// flatten adds values to a table, with their defaults as JSON, but strings and what is empty as in the documents.
func flatten(prefix string, values map[string]any, table map[string]string) {
	for key, value := range values {
		section, ok := value.(map[string]any)
		if ok && prefix == "" && len(section) > 0 && key != "resources" && key != "podSecurityContext" {
			flatten(key+".", section, table)
			continue
		}
		text, _ := json.Marshal(value) // it was decoded from YAML, so there is no error
		table[prefix+key] = strings.Trim(string(text), `"`)
		if slices.Contains([]string{"null", "{}", "[]"}, string(text)) {
			table[prefix+key] = ""
		}
	}
}
