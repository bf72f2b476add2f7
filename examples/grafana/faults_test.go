package grafana

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// The tests in this file forbid faults that dashboards had in a real Grafana.

// eachPanel calls check for every panel, with its dashboard and title as the name of a test.
func eachPanel(t *testing.T, check func(t *testing.T, p panel)) {
	t.Helper()
	for name, d := range dashboards(t) {
		for _, p := range d.Panels {
			t.Run(name+" "+p.Title, func(t *testing.T) { check(t, p) })
		}
	}
}

// perStep matches a function of counters with its range.
var perStep = regexp.MustCompile(`\b(rate|increase|irate|delta)\([^\[]*\[([^\]]*)\]`)

// TestQueries checks that variables are used as Grafana's data source expects them, and that no event is counted in
// more than one step: a chart shows rates, and a total is that of the time range.
func TestQueries(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "${") {
				t.Errorf("%s formats a variable, which may escape what PromQL does not unescape", target.RefID)
			}
			for _, match := range perStep.FindAllStringSubmatch(target.Expr, -1) {
				want := []string{"rate", "$__rate_interval"}
				if target.Instant {
					want = []string{"increase", "$__range"}
				}
				if !slices.Equal(match[1:], want) {
					t.Errorf("%s: got %s, want %s(…[%s])", target.RefID, match[0], want[0], want[1])
				}
			}
		}
	})
}

// noData matches a text that cannot be read as good news. It is short because it is also shown in tooltips.
var noData = regexp.MustCompile(`^no (data|value|balance)\b.{0,40}$`)

// TestNoData checks that missing values, and panels whose query failed, are not taken for good news.
func TestNoData(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		if text := p.FieldConfig.Defaults.NoValue; !noData.MatchString(text) {
			t.Errorf("got the text %q for no data", text)
		}
		if p.Type != "timeseries" && p.FieldConfig.Defaults.Thresholds.color(math.Inf(-1)) != "text" {
			t.Error("no data has the color of a value")
		}
		for _, o := range p.FieldConfig.Overrides {
			if steps, ok := property[thresholds](t, o, "thresholds"); ok && steps.color(math.Inf(-1)) != "text" {
				t.Errorf("%s: no data has the color of a value", o.Matcher.Options)
			}
		}
		if p.Type != "stat" {
			return
		}
		for _, target := range p.Targets {
			expectFallback(t, p, target.RefID, target.Expr)
		}
	})
}

// fallback matches what a query returns when there is no data.
var fallback = regexp.MustCompile(`or (?:on \(\) )?(?:label_replace\()?vector\((-1|NaN)\)`)

// expectFallback checks that a query of several in a panel returns a value in any case, since it would be missing from
// the panel otherwise, and that the panel has a text for it.
func expectFallback(t *testing.T, p panel, ref, expr string) {
	t.Helper()
	match := fallback.FindStringSubmatch(expr)
	if match == nil {
		t.Fatalf("%s returns nothing without data", ref)
	}
	mappings := p.FieldConfig.Defaults.Mappings
	for _, o := range p.FieldConfig.Overrides {
		if replaced, ok := property[[]mapping](t, o, "mappings"); ok && o.Matcher.Options == ref {
			mappings = replaced
		}
	}
	if findMeaning(t, mappings, match[1]) == "" {
		t.Errorf("%s: %s has no text", ref, match[1])
	}
}

// TestZero checks that zero has no color, as neither a loss nor an error. Where zero is bad news, it is red.
func TestZero(t *testing.T) {
	bad := []string{"Health B", "Balance now B"}
	eachPanel(t, func(t *testing.T, p panel) {
		if p.Type == "timeseries" || p.Type == "state-timeline" {
			return
		}
		if got := p.FieldConfig.Defaults.Thresholds.color(0); got != "text" {
			t.Errorf("zero is %s", got)
		}
		for _, o := range p.FieldConfig.Overrides {
			steps, ok := property[thresholds](t, o, "thresholds")
			want := "text"
			if slices.Contains(bad, p.Title+" "+o.Matcher.Options) && steps.color(0) == "red" {
				want = "red"
			}
			if got := steps.color(0); ok && got != want {
				t.Errorf("%s: zero is %s, want %s", o.Matcher.Options, got, want)
			}
		}
	})
}

// TestLabels checks that columns with labels are not formatted like numbers, which would break links.
func TestLabels(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		if p.Type != "table" {
			return
		}
		if unit := p.FieldConfig.Defaults.Unit; unit != "none" {
			t.Errorf("columns have the unit %q", unit)
		}
		for _, o := range p.FieldConfig.Overrides {
			column := o.Matcher.Options
			unit, _ := property[string](t, o, "unit")
			if slices.Contains([]string{"WMID", "Code", "Version"}, column) && unit != "string" {
				t.Errorf("%s has the unit %q", column, unit)
			}
		}
	})
}

// TestColumns checks that settings of columns refer to existing ones, and that a table fits into 1366 pixels.
func TestColumns(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		if p.Type != "table" {
			return
		}
		var names []string
		for _, transformation := range p.Transformations {
			for _, name := range transformation.Options.RenameByName {
				names = append(names, name)
			}
		}
		sum := 0.0
		for _, o := range p.FieldConfig.Overrides {
			width, _ := property[float64](t, o, "custom.width")
			minimum, _ := property[float64](t, o, "custom.minWidth")
			sum += width + minimum
			if !slices.Contains(names, o.Matcher.Options) {
				t.Errorf("there is no column %s in %q", o.Matcher.Options, names)
			}
			if width+minimum == 0 {
				t.Errorf("%s has no width, and would take at least 150 pixels", o.Matcher.Options)
			}
		}
		if sum > 1280 {
			t.Errorf("the columns need %v pixels", sum)
		}
	})
}

// TestStates checks that timelines show the texts of their values: Grafana shows thresholds instead if they give the
// color.
func TestStates(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		defaults := p.FieldConfig.Defaults
		if p.Type == "state-timeline" && (defaults.Color.Mode != "fixed" || len(defaults.Mappings) == 0) {
			t.Errorf("got color mode %q and %d mappings", defaults.Color.Mode, len(defaults.Mappings))
		}
	})
}

// TestVariables checks that the default data source is selected at first, and not the first by name, that creators can
// be searched by name and WMID, and that a link to another dashboard does not select all creators where one is
// expected.
func TestVariables(t *testing.T) {
	multi := make(map[string]bool)
	for name, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			if several, ok := multi[v.Name]; ok && several != v.Multi {
				t.Errorf("%s: the variable %s has several values on some dashboards", name, v.Name)
			}
			multi[v.Name] = v.Multi
			if v.Type == "datasource" && v.Current.Value != "default" {
				t.Errorf("%s: got the data source %v, want the default one", name, v.Current.Value)
			}
			if v.Regex == "" {
				continue
			}
			pattern := regexp.MustCompile(strings.Trim(v.Regex, "/"))
			for _, result := range []string{
				`{creator="a · 5 · 2",name="a · 5",wmid="2"} 1 1768881600000`,
				`{name="a · 5",wmid="2",creator="a · 5 · 2"} 1 1768881600000`,
			} {
				if got := pattern.FindStringSubmatch(result); !slices.Equal(got[1:], []string{"a · 5 · 2", "2"}) {
					t.Errorf("%s: got text and value %q from %s", name, got[1:], result)
				}
			}
		}
	}
}

// TestUnbilled compares the codes of the requests that a panel shows as not billed with those of the API.
func TestUnbilled(t *testing.T) {
	var unbilled []string
	for _, code := range justoneapi.KnownCodes() {
		if justoneapi.Explain(code, false).Billing == justoneapi.NotBilled {
			unbilled = append(unbilled, code)
		}
	}
	want := `code=~"` + strings.Join(unbilled, "|") + `"`
	for _, p := range dashboards(t)["exporter.json"].Panels {
		if p.Title == "Requests per minute" && !strings.Contains(p.Targets[1].Expr, want) {
			t.Errorf("got %s, want %s", p.Targets[1].Expr, want)
		}
	}
}
