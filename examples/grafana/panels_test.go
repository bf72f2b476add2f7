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
	Templating struct {
		List []struct {
			Type, Name, Regex string
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

// query is a query of a panel.
type query struct {
	dashboard, panel, ref string
	expr                  string
	instant               bool
	step                  time.Duration
}

// String names the query.
func (q query) String() string { return q.dashboard + ": " + q.panel + ": " + q.ref }

// queries returns the queries of all panels for a week, with all creators, or one on the dashboard of a single one.
func queries(t *testing.T) []query {
	t.Helper()
	all := dashboards(t)
	var found []query
	for _, name := range []string{"creators", "creator", "exporter"} {
		for _, p := range all[name+".json"].Panels {
			interval := model.Duration(step(t, p)).String()
			variables := strings.NewReplacer("$job", "bilibili", "$creator", ".*", "$wmid", "2", "$top", "10",
				"$window", "1d", "$__rate_interval", "10m", "$__range", "604800s", "$__interval", interval)
			for _, target := range p.Targets {
				found = append(found, query{
					dashboard: name, panel: p.Title, ref: target.RefID, expr: variables.Replace(target.Expr),
					instant: target.Instant, step: step(t, p),
				})
			}
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
