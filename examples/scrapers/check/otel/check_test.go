// Package check runs the receiver and the exporter of otel-collector.yaml with the code of the OpenTelemetry Collector.
// It is a module of its own, so that bilibili_exporter does not depend on the collector.
package check

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"github.com/prometheus/prometheus/storage/remote"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/otelcol/otelcoltest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

const (
	example    = "../../otel-collector.yaml"
	exposition = "../../../../collector/testdata/failure-after-success.metrics" // of the collector's own tests
)

var (
	receivers = prometheusreceiver.NewFactory()
	exporters = prometheusremotewriteexporter.NewFactory()
)

// TestReceiver checks the timeout that the receiver sends, and the types of the metrics that arrive.
func TestReceiver(t *testing.T) {
	metrics, timeout := receive(t)
	if want := "1"; timeout != want {
		t.Errorf("got the timeout %q in the header, want %q", timeout, want)
	}
	for name, want := range map[string]pmetric.MetricType{
		"bilibili_followers":                    pmetric.MetricTypeGauge,
		"bilibili_user_info":                    pmetric.MetricTypeGauge,
		"bilibili_api_request_duration_seconds": pmetric.MetricTypeHistogram,
		"bilibili_api_requests_total":           pmetric.MetricTypeSum,
		"upstream_error_code":                   pmetric.MetricTypeSum,
	} {
		metric := find(t, metrics, name)
		if got := metric.Type(); got != want {
			t.Errorf("%s: got a %s, want a %s", name, got, want)
		} else if want == pmetric.MetricTypeSum && (!metric.Sum().IsMonotonic() ||
			metric.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative) {
			t.Errorf("%s: the sum is not monotonic and cumulative", name)
		}
	}
}

// TestExporter checks that the exporter writes the names of the exposition, but not without the key that the documents
// recommend.
func TestExporter(t *testing.T) {
	const key = "translation_strategy: UnderscoreEscapingWithoutSuffixes"
	metrics, _ := receive(t)
	names := write(t, metrics)
	for _, sample := range regexp.MustCompile(`(?m)^(\w+)[{ ]`).FindAllStringSubmatch(read(t, exposition), -1) {
		if !names[sample[1]] {
			t.Errorf("%s is missing", sample[1])
			names[sample[1]] = true // reported once
		}
	}
	if names := write(t, metrics, key, ""); names["upstream_error_code"] || !names["upstream_error_code_total"] {
		t.Errorf("upstream_error_code keeps its name without %s", key)
	}
}

// receive returns what the receiver makes of an exposition, and the timeout that it sends.
func receive(t *testing.T) (metrics pmetric.Metrics, timeout string) {
	t.Helper()
	scrapes, received := make(chan string, 1), make(chan pmetric.Metrics, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		http.ServeFile(w, r, exposition)
		offer(scrapes, r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"))
	}))
	defer server.Close()
	sink, err := consumer.NewMetrics(func(_ context.Context, metrics pmetric.Metrics) error {
		offer(received, metrics)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	config := load(t, "localhost:12233", server.Listener.Addr().String(), "interval: 1m", "interval: 1s",
		"timeout: 30s", "timeout: 1s").Receivers[component.NewID(receivers.Type())]
	r, err := receivers.CreateMetrics(t.Context(), receivertest.NewNopSettings(receivers.Type()), config, sink)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, r)
	defer stop()
	return <-received, <-scrapes
}

// offer sends a value unless the channel is full.
func offer[T any](to chan T, value T) {
	select {
	case to <- value:
	default:
	}
}

// write returns the names of the series that the exporter writes with the changed example.
func write(t *testing.T, metrics pmetric.Metrics, changes ...string) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	names := make(map[string]bool) // protected by mu
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		request, err := remote.DecodeWriteRequest(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, series := range request.Timeseries {
			for _, label := range series.Labels {
				if label.Name == "__name__" {
					names[label.Value] = true
				}
			}
		}
	}))
	defer server.Close()
	config := load(t, append(changes, "http://localhost:9090", server.URL)...).Exporters[component.NewID(exporters.Type())]
	e, err := exporters.CreateMetrics(t.Context(), exportertest.NewNopSettings(exporters.Type()), config)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, e)
	if err := e.ConsumeMetrics(t.Context(), metrics); err != nil {
		t.Fatal(err)
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	return names
}

// start starts a component and returns a function that stops it, after it has written what is queued.
func start(t *testing.T, c component.Component) (stop func()) {
	t.Helper()
	if err := c.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// load loads and validates the example after some changes, of which each is a text and its replacement.
func load(t *testing.T, changes ...string) *otelcol.Config {
	t.Helper()
	text := read(t, example)
	for i := 0; i < len(changes); i += 2 {
		if strings.Count(text, changes[i]) != 1 {
			t.Fatalf("%s does not contain %q once", example, changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	path := filepath.Join(t.TempDir(), "otel-collector.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := otelcoltest.LoadConfigAndValidate(path, otelcol.Factories{
		Receivers: map[component.Type]receiver.Factory{receivers.Type(): receivers},
		Exporters: map[component.Type]exporter.Factory{exporters.Type(): exporters},
	})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns the metric with a name.
func find(t *testing.T, metrics pmetric.Metrics, name string) pmetric.Metric {
	t.Helper()
	for _, resource := range metrics.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				if metric.Name() == name {
					return metric
				}
			}
		}
	}
	t.Fatalf("%s is missing", name)
	return pmetric.Metric{}
}
