//go:build bench

package bench

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// fromMemory returns a handler that sends a fixed body.
func fromMemory(body []byte, encoding string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if encoding != "identity" {
			w.Header().Set("Content-Encoding", encoding)
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Write(body) //nolint:errcheck // the client sees it
	})
}

// constants is a collector of fixed metrics.
type constants []prometheus.Metric

func (c constants) Describe(ch chan<- *prometheus.Desc) {
	for _, metric := range c {
		ch <- metric.Desc()
	}
}

func (c constants) Collect(ch chan<- prometheus.Metric) {
	for _, metric := range c {
		ch <- metric
	}
}

// newFloor returns a handler of fixed metrics with the series of an exposition. It compresses like the exporter.
func newFloor(t *testing.T, exposition []byte) http.Handler {
	t.Helper()
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(exposition))
	if err != nil {
		t.Fatal(err)
	}
	var metrics constants
	for _, family := range families {
		metrics = append(metrics, newConstants(family)...)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)
	return compressed(promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}))
}

func newConstants(family *dto.MetricFamily) constants {
	var labels []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		labels = append(labels, label.GetName())
	}
	desc := prometheus.NewDesc(family.GetName(), family.GetHelp(), labels, nil)
	var metrics constants
	for _, m := range family.GetMetric() {
		var values []string
		for _, label := range m.GetLabel() {
			values = append(values, label.GetValue())
		}
		metrics = append(metrics, newConstant(desc, m, values))
	}
	return metrics
}

func newConstant(desc *prometheus.Desc, m *dto.Metric, labels []string) prometheus.Metric {
	switch {
	case m.GetCounter() != nil:
		return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, m.GetCounter().GetValue(), labels...)
	case m.GetGauge() != nil:
		return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, m.GetGauge().GetValue(), labels...)
	case m.GetHistogram() != nil:
		buckets := make(map[float64]uint64)
		for _, bucket := range m.GetHistogram().GetBucket() {
			buckets[bucket.GetUpperBound()] = bucket.GetCumulativeCount()
		}
		count, sum := m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
		return prometheus.MustNewConstHistogram(desc, count, sum, buckets, labels...)
	default:
		quantiles := make(map[float64]float64)
		for _, quantile := range m.GetSummary().GetQuantile() {
			quantiles[quantile.GetQuantile()] = quantile.GetValue()
		}
		count, sum := m.GetSummary().GetSampleCount(), m.GetSummary().GetSampleSum()
		return prometheus.MustNewConstSummary(desc, count, sum, quantiles, labels...)
	}
}
