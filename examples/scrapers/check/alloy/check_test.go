// Package check decodes config.alloy. It is a module of its own, so that the exporter does not depend on Grafana Alloy.
package check

import (
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/vm"
)

// address is that of the exporter. A test of the parent directory compares it with the exporter's default.
const address = "localhost:12233"

// TestAlloy decodes the component of Grafana Alloy that scrapes the exporter.
func TestAlloy(t *testing.T) {
	type scrape struct {
		JobName   string              `alloy:"job_name,attr"`
		Interval  time.Duration       `alloy:"scrape_interval,attr"`
		Timeout   time.Duration       `alloy:"scrape_timeout,attr"`
		Targets   []map[string]string `alloy:"targets,attr"`
		ForwardTo []string            `alloy:"forward_to,attr"`
	}
	text, err := os.ReadFile("../../config.alloy")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile("config.alloy", text)
	if err != nil {
		t.Fatal(err)
	}
	components := make(map[string]*ast.BlockStmt)
	for _, statement := range file.Body {
		block := statement.(*ast.BlockStmt)
		components[block.GetBlockName()+" "+block.Label] = block
	}
	if components["prometheus.remote_write default"] == nil || len(components) != 2 {
		t.Errorf("got components %v", components)
	}
	exports := map[string]any{"remote_write": map[string]any{"default": map[string]any{"receiver": "receiver"}}}
	want := scrape{
		"bilibili", time.Minute, 30 * time.Second, []map[string]string{{"__address__": address}}, []string{"receiver"},
	}
	var got scrape
	scraper := components["prometheus.scrape bilibili"]
	if err := vm.New(scraper.Body).Evaluate(vm.NewScope(map[string]any{"prometheus": exports}), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
