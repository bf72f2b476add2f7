// Package check validates the dashboards with Grafana's own types. It is a module of its own, so that the exporter does
// not depend on them.
package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// datasource is the data source of every panel, query and annotation: the one selected in the dashboard.
const datasource = "${datasource}"

// file is a dashboard, partly as raw JSON and decoded.
type file struct {
	raw struct {
		Panels []struct {
			FieldConfig json.RawMessage
			Targets     []json.RawMessage
		}
	}
	dashboard dashboard.Dashboard
}

// dashboards decodes all dashboards strictly, by path.
func dashboards(t *testing.T) map[string]file {
	t.Helper()
	plugins.RegisterDefaultPlugins() // decode panel options and queries
	english, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(english) == 0 {
		t.Fatal("no dashboards", err)
	}
	all := make(map[string]file)
	for _, path := range append(english, chinese(english)...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f file
		if err := json.Unmarshal(text, &f.raw); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := f.dashboard.UnmarshalJSONStrict(text); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[path] = f
	}
	return all
}

// chinese returns the paths of the Chinese dashboards.
func chinese(english []string) []string {
	var paths []string
	for _, path := range english {
		paths = append(paths, filepath.Join("../zh-CN", filepath.Base(path)))
	}
	return paths
}

// panels returns the panels of a dashboard without its rows.
func (f file) panels() []*dashboard.Panel {
	var panels []*dashboard.Panel
	for _, p := range f.dashboard.Panels {
		if p.Panel != nil {
			panels = append(panels, p.Panel)
		}
	}
	return panels
}

// TestStrict decodes the field settings and queries of the panels. The strict decoder of dashboards does not check the
// settings, and does not know that queries without a data source have that of the panel.
func TestStrict(t *testing.T) {
	for name, f := range dashboards(t) {
		for i, panel := range f.raw.Panels {
			if panel.FieldConfig == nil {
				continue
			}
			var config dashboard.FieldConfigSource
			if err := config.UnmarshalJSONStrict(panel.FieldConfig); err != nil {
				t.Errorf("%s: panel %d: %v", name, i, err)
			}
			for _, target := range panel.Targets {
				decoded, err := cog.StrictUnmarshalDataquery(target, "prometheus")
				query, ok := decoded.(*prometheus.Dataquery)
				if err != nil || !ok || query.Datasource != nil {
					t.Errorf("%s: panel %d: got query %+v of type %T, %v", name, i, query, decoded, err)
				}
			}
		}
		for _, panel := range f.panels() {
			if _, unknown := panel.Options.(map[string]any); unknown {
				t.Errorf("%s: panel %q has the unknown type %s", name, *panel.Title, panel.Type)
			}
		}
	}
}

// TestIdentity checks the properties that imports, links and bookmarks depend on.
func TestIdentity(t *testing.T) {
	for name, f := range dashboards(t) {
		d, suffix := f.dashboard, ""
		if strings.Contains(name, "zh-CN") {
			suffix = "-zh"
		}
		want := "bilibili-" + strings.TrimSuffix(filepath.Base(name), ".json") + suffix
		if d.Id != nil || d.Uid == nil || *d.Uid != want {
			t.Errorf("%s: got id %v and uid %v, want none and %s", name, d.Id, d.Uid, want)
		}
		tags := []string{"bilibili" + suffix}
		if !slices.Equal(d.Tags, tags) {
			t.Errorf("%s: got tags %q, want %q", name, d.Tags, tags)
		}
		if len(d.Links) != 1 || !slices.Equal(d.Links[0].Tags, tags) {
			t.Errorf("%s: got links %+v, want one to the dashboards with the tags %q", name, d.Links, tags)
		}
		for _, a := range d.Annotations.List {
			if !selected(&a.Datasource) {
				t.Errorf("%s: annotation %q has another data source", name, a.Name)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == dashboard.VariableTypeQuery && !selected(v.Datasource) {
				t.Errorf("%s: variable %q has another data source", name, v.Name)
			}
		}
		if v := d.Templating.List; len(v) < 2 || v[0].Type != dashboard.VariableTypeDatasource ||
			"${"+v[0].Name+"}" != datasource {
			t.Errorf("%s: the first variable is not the data source", name)
		}
	}
}

// TestPanels checks that all panels are complete, and that their titles and IDs are unique.
func TestPanels(t *testing.T) {
	for name, f := range dashboards(t) {
		titles, ids := make(map[string]bool), make(map[uint32]bool)
		for _, p := range f.panels() {
			if p.Title == nil || *p.Title == "" || titles[*p.Title] {
				t.Fatalf("%s: panel %v has no unique title", name, p.Id)
			}
			titles[*p.Title] = true
			if p.Id == nil || ids[*p.Id] {
				t.Errorf("%s: panel %q has no unique ID", name, *p.Title)
			} else {
				ids[*p.Id] = true
			}
			for _, property := range missingProperties(p) {
				t.Errorf("%s: panel %q has no %s", name, *p.Title, property)
			}
		}
	}
}

// missingProperties returns the names of all properties that a panel lacks.
func missingProperties(p *dashboard.Panel) []string {
	var missing []string
	need := func(what string, has bool) {
		if !has {
			missing = append(missing, what)
		}
	}
	text := func(s *string) bool { return s != nil && *s != "" }
	need("description", text(p.Description))
	need("data source "+datasource, selected(p.Datasource))
	need("query", len(p.Targets) > 0)
	need("field settings", p.FieldConfig != nil)
	if p.FieldConfig != nil {
		defaults := p.FieldConfig.Defaults
		need("unit", text(defaults.Unit))
		need("text for no data", text(defaults.NoValue))
		need("thresholds", p.Type == "timeseries" ||
			defaults.Thresholds != nil && len(defaults.Thresholds.Steps) > 0)
	}
	return missing
}

// selected reports whether a data source is the one selected in the dashboard.
func selected(d *dashboard.DataSourceRef) bool {
	return d != nil && d.Uid != nil && *d.Uid == datasource
}

// TestGrid checks that panels neither overlap nor extend beyond the grid.
func TestGrid(t *testing.T) {
	for name, f := range dashboards(t) {
		taken := make(map[[2]uint32]bool)
		for i, p := range f.dashboard.Panels {
			var pos *dashboard.GridPos
			if p.Panel != nil {
				pos = p.Panel.GridPos
			} else {
				pos = p.RowPanel.GridPos
			}
			if pos == nil || pos.W == 0 || pos.H == 0 || pos.X+pos.W > 24 {
				t.Errorf("%s: panel %d: got position %+v", name, i, pos)
				continue
			}
			for x := pos.X; x < pos.X+pos.W; x++ {
				for y := pos.Y; y < pos.Y+pos.H; y++ {
					if taken[[2]uint32{x, y}] {
						t.Fatalf("%s: panel %d overlaps another", name, i)
					}
					taken[[2]uint32{x, y}] = true
				}
			}
		}
	}
}
