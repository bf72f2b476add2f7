// Package check decodes config.alloy. It is a module of its own, so that the exporter does not depend on Grafana Alloy.
//
// The syntax is decoded with Alloy's code, but into types of our own, because those of Alloy need 1,800 packages and
// forks of modules. Another test looks for their attributes and blocks in the source of Alloy. Only "make alloy"
// compiles the packages and runs the components.
package check

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/vm"
)

const alloy = "github.com/grafana/alloy@v1.10.0"

type scrape struct {
	JobName   string              `alloy:"job_name,attr"`
	Interval  time.Duration       `alloy:"scrape_interval,attr"`
	Timeout   time.Duration       `alloy:"scrape_timeout,attr"`
	Targets   []map[string]string `alloy:"targets,attr"`
	ForwardTo []string            `alloy:"forward_to,attr"`
}

type remoteWrite struct {
	Endpoint endpoint `alloy:"endpoint,block"`
}

type endpoint struct {
	URL string `alloy:"url,attr"`
}

// TestAlloy decodes both components. Attributes and blocks that the types lack are errors.
func TestAlloy(t *testing.T) {
	text, err := os.ReadFile("../../config.alloy")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile("config.alloy", text)
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string]any{
		"prometheus.scrape bilibili": &scrape{
			"bilibili", time.Minute, 30 * time.Second,
			[]map[string]string{{"__address__": "localhost:12233"}}, // which a test of the examples compares
			[]string{"receiver"},
		},
		"prometheus.remote_write default": &remoteWrite{endpoint{"http://localhost:9090/api/v1/write"}},
	}
	exports := map[string]any{"remote_write": map[string]any{"default": map[string]any{"receiver": "receiver"}}}
	if len(file.Body) != len(wants) {
		t.Errorf("got %d components, want %d", len(file.Body), len(wants))
	}
	for _, statement := range file.Body {
		block := statement.(*ast.BlockStmt)
		name := block.GetBlockName() + " " + block.Label
		want, ok := wants[name]
		if !ok {
			t.Fatalf("unknown component %s", name)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := vm.New(block.Body).Evaluate(vm.NewScope(map[string]any{"prometheus": exports}), got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// alloyTag matches the tag of an attribute or a block.
var alloyTag = regexp.MustCompile(`alloy:"(\w+,(?:attr|block))(,optional)?"`)

// TestTypes compares our types with those in the source of Alloy: these have the same attributes and blocks, and the
// others are optional.
func TestTypes(t *testing.T) {
	dir := filepath.Join(download(t), "internal", "component", "prometheus")
	for _, test := range []struct {
		ours       any
		path, name string // of Alloy's type
	}{
		{scrape{}, "scrape/scrape.go", "Arguments"},
		{remoteWrite{}, "remotewrite/types.go", "Arguments"},
		{endpoint{}, "remotewrite/types.go", "EndpointOptions"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, test.path))
		if err != nil {
			t.Fatal(err)
		}
		theirs := regexp.MustCompile(`(?s)type ` + test.name + ` struct {.*?\n}`).FindString(string(text))
		known := make(map[string]bool) // whether it is required, by attribute or block
		for _, match := range alloyTag.FindAllStringSubmatch(theirs, -1) {
			known[match[1]] = match[2] == ""
		}
		for field := range reflect.TypeOf(test.ours).Fields() {
			tag := field.Tag.Get("alloy")
			if _, ok := known[tag]; !ok {
				t.Errorf("%s: %s has no %s", test.path, test.name, tag)
			}
			delete(known, tag)
		}
		for tag, required := range known {
			if required {
				t.Errorf("%s: %s requires %s", test.path, test.name, tag)
			}
		}
	}
}

// download returns the directory with the source of Alloy.
func download(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", alloy).Output()
	if err != nil {
		t.Fatalf("downloading %s: %v: %s", alloy, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module.Dir
}
