package grafana

import (
	"cmp"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// dashboard is the part of a dashboard that the tests of this package look at.
type dashboard struct {
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct {
			Type, Name, Regex string
			Query             any
			Multi             bool
			Current           struct{ Value any }
		}
	}
	Panels []panel
}

type panel struct {
	Type, Title string
	Interval    string // the shortest step
	MaxPoints   int    `json:"maxDataPoints"`
	Targets     []struct {
		RefID   string
		Expr    string
		Instant bool
	}
	Transformations []struct {
		Options struct{ RenameByName map[string]string }
	}
	FieldConfig struct {
		Defaults  fieldSettings
		Overrides []override
	}
}

type fieldSettings struct {
	Unit, NoValue string
	Thresholds    thresholds
	Color         struct{ Mode string }
	Mappings      []mapping
}

type override struct {
	Matcher    struct{ ID, Options string }
	Properties []struct {
		ID    string
		Value json.RawMessage
	}
}

// thresholds are the colors of values; the first step, which is for missing values too, has no value.
type thresholds struct {
	Steps []struct {
		Color string
		Value *float64
	}
}

// color returns the color of a value.
func (t thresholds) color(value float64) (color string) {
	for _, step := range t.Steps {
		if step.Value == nil || *step.Value <= value {
			color = step.Color
		}
	}
	return color
}

// property decodes a property of an override, if it has it.
func property[T any](t *testing.T, o override, id string) (value T, ok bool) {
	t.Helper()
	for _, p := range o.Properties {
		if p.ID == id {
			if err := json.Unmarshal(p.Value, &value); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			return value, true
		}
	}
	return value, false
}

// dashboards returns the dashboards by file name.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	all := make(map[string]dashboard)
	for name, value := range exportertest.Dashboards(t) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = d
	}
	return all
}

// query is a query of a panel, an annotation or a variable.
type query struct {
	dashboard, panel, ref string
	expr                  string
	instant               bool
	step                  time.Duration
}

// String names the query.
func (q query) String() string { return q.dashboard + ": " + q.panel + ": " + q.ref }

// queries returns all queries for a week, with all creators, or one on the dashboard of a single one.
func queries(t *testing.T, wmid string) []query {
	t.Helper()
	all := dashboards(t)
	var found []query
	for _, name := range []string{"creators", "creator", "exporter"} {
		for _, q := range all[name+".json"].queries(t) {
			q.dashboard = name
			interval := model.Duration(q.step).String()
			rate := model.Duration(q.step + time.Minute).String() // Grafana adds the scrape interval
			q.expr = strings.NewReplacer("$job", "bilibili", "$creator", ".*", "$wmid", wmid, "$top", "10",
				"$window", "1d", "$__rate_interval", rate, "$__range", "604800s", "$__interval", interval).Replace(q.expr)
			found = append(found, q)
		}
	}
	return found
}

// queries returns the queries of a dashboard with its variables.
func (d dashboard) queries(t *testing.T) []query {
	t.Helper()
	var found []query
	for _, v := range d.Templating.List {
		settings, _ := v.Query.(map[string]any)
		text, _ := settings["query"].(string)
		if expr, ok := strings.CutPrefix(text, "query_result("); ok {
			found = append(found, query{panel: "variable", ref: v.Name, expr: strings.TrimSuffix(expr, ")"), instant: true})
		}
	}
	for _, a := range d.Annotations.List {
		found = append(found, query{panel: "annotation", ref: a.Name, expr: a.Expr, step: time.Minute})
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			found = append(found, query{
				panel: p.Title, ref: target.RefID, expr: target.Expr, instant: target.Instant, step: step(t, p),
			})
		}
	}
	return found
}

// week is the time range of [queries].
const week = 7 * 24 * time.Hour

// step returns the step of a panel 1000 pixels wide that shows a week. Grafana rounds more coarsely.
func step(t *testing.T, p panel) time.Duration {
	t.Helper()
	shortest, err := model.ParseDuration(cmp.Or(p.Interval, "1m"))
	if err != nil {
		t.Fatal(err)
	}
	points := cmp.Or(p.MaxPoints, 1000)
	return max(time.Duration(shortest), (week / time.Duration(points)).Round(10*time.Minute))
}
