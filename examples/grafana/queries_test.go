//go:build e2e

package grafana

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// histories returns the histories by name.
func histories() map[string]history {
	days := func(n float64) time.Time { return end.Add(-time.Duration(n * 24 * float64(time.Hour))) }
	holes := func(creator int, at time.Time) bool { return (at.Unix()/1800+int64(creator))%7 == 0 }
	return map[string]history{
		"nothing":  {start: end.Add(time.Minute), interval: time.Minute},
		"one":      {creators: 1, instances: 1, start: days(8), interval: time.Minute, wmid: "1"},
		"eight":    {creators: 8, instances: 1, start: days(8), interval: time.Minute},
		"states":   {creators: 8, instances: 1, start: days(1.1), interval: time.Minute, states: true, wmid: "8"},
		"holes":    {creators: 300, instances: 1, start: days(1.1), interval: 2 * time.Minute, missing: holes},
		"paused":   {creators: 8, instances: 1, start: days(2), interval: time.Minute, paused: 6 * time.Hour},
		"dead":     {creators: 8, instances: 1, start: days(2), interval: time.Minute, down: 2 * time.Hour},
		"replicas": {creators: 8, instances: 2, start: days(2), interval: time.Minute, failover: 3 * time.Hour},
		"thousand": {creators: 1000, instances: 1, start: days(1.1), interval: 4 * time.Minute},
	}
}

// TestE2EQueries runs all queries of the dashboards with Debian's Prometheus 2.42, and compares the last value of every
// series with golden files. Other engines must return the same.
func TestE2EQueries(t *testing.T) {
	for name, h := range histories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, file := t.TempDir(), h.file(t)
			if h.instances > 0 {
				load(t, dir, file)
			}
			var engines []engine
			if name != "one" && name != "thousand" { // they differ from the others in numbers only
				engines = startEngines(t, dir, file)
			}
			p := start(t, "prometheus", dir)
			var b strings.Builder
			for _, q := range queries(t, cmp.Or(h.wmid, "2")) {
				result := p.query(q, week)
				fmt.Fprintf(&b, "%s%s\n", q, summary(result))
				for _, e := range engines {
					e.expectSame(h, q, result)
				}
			}
			path := "examples/grafana/testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			expectLines(t, path, b.String(), exportertest.ReadFile(t, path))
		})
	}
}

// summary shows up to eight series of a result, and how many others there are.
func summary(all []series) string {
	var b strings.Builder
	if len(all) == 0 {
		return " nothing"
	}
	for i, s := range all {
		if i == 8 {
			fmt.Fprintf(&b, " … %d series", len(all))
			break
		}
		last := s.last()
		fmt.Fprintf(&b, " {%s} %s", s.labels, number(last.value))
		if last.at.Before(end.Add(-10 * time.Minute)) {
			fmt.Fprintf(&b, " until %s", last.at.UTC().Format("15:04"))
		}
	}
	return b.String()
}

// number formats a value so that rounding errors do not show.
func number(value float64) string {
	switch absolute := math.Abs(value); {
	case absolute < 1e-9:
		return "0"
	case absolute >= 1000 && absolute < 1e9:
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.4g", value)
}

func expectLines(t *testing.T, path, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%s: got %d lines, want %d", path, len(gotLines), len(wantLines))
	}
	for i, line := range gotLines {
		if line != wantLines[i] {
			t.Errorf("%s:\n got %s\nwant %s", path, line, wantLines[i])
		}
	}
}
