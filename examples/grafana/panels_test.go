package grafana

import (
	"encoding/json"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// dashboard is the part of a dashboard that the tests of this package look at.
type dashboard struct {
	Templating struct {
		List []struct {
			Type, Name, Regex string
			Current           struct{ Value any }
		}
	}
	Panels []panel
}

type panel struct {
	Type, Title string
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
