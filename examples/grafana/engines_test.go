//go:build e2e

package grafana

import (
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// engine is a server whose results are compared with those of Debian's Prometheus 2.42.
type engine struct {
	*server
	name            string
	victoriaMetrics bool
}

// startEngines starts Prometheus 3 with a copy of a data directory, and VictoriaMetrics with the file of its history.
func startEngines(t *testing.T, dir, file string) []engine {
	t.Helper()
	var all []engine
	for _, program := range exportertest.Programs(t, "prometheus") {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		all = append(all, engine{start(t, program, copied), filepath.Base(program), false})
	}
	for _, program := range exportertest.Programs(t, "victoria-metrics") {
		all = append(all, engine{startVictoriaMetrics(t, program, file), filepath.Base(program), true})
	}
	return all
}

func startVictoriaMetrics(t *testing.T, program, file string) *server {
	t.Helper()
	p := exportertest.Start(t, exec.Command(program, "-storageDataPath="+t.TempDir(), "-retentionPeriod=100y",
		"-search.disableCache", "-httpListenAddr=127.0.0.1:0"))
	s := &server{t, p.Await(`started server at (http://\S+)/`)}
	history, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	resp, err := http.Post(s.url+"/api/v1/import/prometheus", "text/plain", history)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("got status %s", resp.Status)
	}
	exportertest.Get(t, http.DefaultClient, s.url+"/internal/force_flush") // queries find what has been imported
	return s
}

// tolerances are the shares by which values may differ from those of Prometheus 2.42, by function.
var tolerances = map[string]float64{
	// In Prometheus 3, a window of 11 min does not contain the sample at its start, one of 12.
	"rate(": 0.1,
	// VictoriaMetrics does not extrapolate a counter to the ends of a window, by up to the scrape interval.
	"increase(": 1e-3,
	// Prometheus 3 and VictoriaMetrics use one of 85 samples less, which differ in their rounding only.
	"deriv(": 1e-5,
}

// allows reports whether a difference from Prometheus 2.42 is a known one. The highest value is that which Prometheus
// returns for the series at any time; NaN if there is none.
func (e engine) allows(h history, q query, at time.Time, got, want, highest float64) bool {
	tolerance := 1e-9
	for function, share := range tolerances {
		if strings.Contains(q.expr, function) {
			tolerance = max(tolerance, share)
		}
	}
	if math.IsNaN(got) && math.IsNaN(want) || math.Abs(got-want) <= max(1e-8, tolerance*math.Abs(want)) {
		return true
	}
	if strings.Contains(q.expr, "rate(") {
		// In a window in which a series starts or stops, the engines extrapolate it differently.
		for _, edge := range []time.Time{h.start, end.Add(-h.down), end.Add(-h.failover)} {
			if since := at.Sub(edge); since > 0 && since <= 11*time.Minute {
				return true
			}
		}
	}
	// In charts of VictoriaMetrics, a sample is valid for a whole step, not 5 min, so that lines bridge holes. At any
	// time, a seventh of the creators has one.
	return e.victoriaMetrics && !q.instant && h.missing != nil && (math.IsNaN(want) || got > want) && got < 1.2*highest
}

// expectSame compares all points of a result with those of Prometheus 2.42.
func (e engine) expectSame(h history, q query, want []series) {
	e.t.Helper()
	type key struct {
		labels string
		at     time.Time
	}
	absent := math.MaxFloat64 // whereas all values are within the tolerance of infinity
	if e.victoriaMetrics {
		absent = math.NaN() // it does not return NaN
	}
	values := make(map[key][2]float64)  // of the engine and of Prometheus 2.42
	highest := make(map[string]float64) // of Prometheus 2.42, by labels
	for _, s := range want {
		highest[s.labels] = math.NaN()
		for _, p := range s.points {
			if !(p.value <= highest[s.labels]) {
				highest[s.labels] = p.value
			}
		}
	}
	for i, all := range [][]series{e.query(q, week), want} {
		for _, s := range all {
			for _, p := range s.points {
				k := key{s.labels, p.at}
				pair, ok := values[k]
				if !ok {
					pair = [2]float64{absent, absent}
				}
				pair[i] = p.value
				values[k] = pair
			}
		}
	}
	for k, pair := range values {
		most, ok := highest[k.labels]
		if !ok {
			most = math.NaN()
		}
		if !e.allows(h, q, k.at, pair[0], pair[1], most) {
			e.t.Errorf("%s, %s: got {%s} %v at %s, want %v", e.name, q, k.labels, pair[0],
				k.at.UTC().Format(time.DateTime), pair[1])
			return // it may be one of thousands
		}
	}
}
