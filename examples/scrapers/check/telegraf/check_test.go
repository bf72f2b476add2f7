// Package check runs the input of telegraf.conf with Telegraf's own code. It is a module of its own, so that the
// exporter does not depend on Telegraf.
package check

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/plugins/inputs/prometheus"
	_ "github.com/influxdata/telegraf/plugins/outputs/file"
	_ "github.com/influxdata/telegraf/plugins/parsers/prometheus"
	_ "github.com/influxdata/telegraf/plugins/serializers/influx"
	"github.com/influxdata/telegraf/testutil"
)

// exposition is what the collector's own tests compare with.
const exposition = "../../../../collector/testdata/failure-after-success.metrics"

// TestTelegraf loads the configuration, which fails if a plugin lacks one of the keys, and gathers an exposition.
func TestTelegraf(t *testing.T) {
	var timeout string // sent by the plugin
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout = r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		http.ServeFile(w, r, exposition)
	}))
	defer exporter.Close()
	c := load(t, exporter.URL)
	if len(c.Inputs) != 1 || len(c.Outputs) != 1 {
		t.Fatalf("got inputs %s and outputs %s, want one each", c.InputNames(), c.OutputNames())
	}
	input := c.Inputs[0]
	if err := input.Init(); err != nil {
		t.Fatal(err)
	}
	var metrics testutil.Accumulator
	if err := input.Start(&metrics); err != nil {
		t.Fatal(err)
	}
	defer input.Stop()
	if err := input.Gather(&metrics); err != nil || metrics.FirstError() != nil {
		t.Fatal(err, metrics.FirstError())
	}
	limit := time.Duration(input.Input.(*prometheus.Prometheus).Timeout)
	if want := 30 * time.Second; limit != want || timeout != "30" {
		t.Errorf("got the timeout %s, and %s s in the header, want %s", limit, timeout, want)
	}
	for _, want := range []struct {
		field, tag, value string
		number            float64
		kind              telegraf.ValueType
	}{
		{"bilibili_followers", "wmid", "3546564939877816", 3.546564939877816e+16, telegraf.Gauge},
		{"bilibili_user_info", "name", `碧诗 "the" \ first`, 1, telegraf.Gauge},
		{"upstream_error_code", "code", "-404", 1, telegraf.Counter},
		{"bilibili_api_requests_total", "url", exporter.URL + "/metrics", 6, telegraf.Counter},
	} {
		metric := find(&metrics, want.field, want.tag, want.value)
		if metric == nil || metric.Measurement != "prometheus" || metric.Type != want.kind ||
			metric.Fields[want.field] != want.number {
			t.Errorf("got %v, want %+v", metric, want)
		}
	}
}

// load loads telegraf.conf with another address of the exporter.
func load(t *testing.T, url string) *config.Config {
	t.Helper()
	text, err := os.ReadFile("../../telegraf.conf")
	if err != nil {
		t.Fatal(err)
	}
	const address = "http://localhost:12233" // a test of the parent directory compares it with the exporter's default
	if strings.Count(string(text), address) != 1 {
		t.Fatalf("telegraf.conf does not name %s once", address)
	}
	c := config.NewConfig()
	if err := c.LoadConfigData([]byte(strings.Replace(string(text), address, url, 1)), "telegraf.conf"); err != nil {
		t.Fatal(err)
	}
	return c
}

// find returns the metric that has a field and a tag, or nil.
func find(metrics *testutil.Accumulator, field, tag, value string) *testutil.Metric {
	for _, metric := range metrics.Metrics {
		if _, ok := metric.Fields[field]; ok && metric.Tags[tag] == value {
			return metric
		}
	}
	return nil
}
