package server_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

func TestFormats(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL))
	for accept, want := range map[string]string{
		"": "text/plain; version=0.0.4",
		"application/openmetrics-text; version=1.0.0":                                                          "text/plain; version=0.0.4",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited":           "application/vnd.google.protobuf",
		"application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1":            "text/plain; version=0.0.4",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,*/*": "application/vnd.google.protobuf",
	} {
		if got := ask(e, http.MethodGet, "/metrics", "Accept", accept).Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: got %s, want %s", accept, got, want)
		}
	}
}

// TestTextIsWhatTheRegistryHas compares the text, which is written for speed, with
// what the plain collector gives to a scraper that asks for protobuf.
func TestTextIsWhatTheRegistryHas(t *testing.T) {
	api := newServer(t)
	api.Set(2, justoneapitest.BilibiliCode(-404, "啥都木有"))
	e, _ := newExporter(t, configFor(api.URL), func(o *server.Options) { o.DisableExporterMetrics = true })
	ask(e, http.MethodGet, "/metrics")
	const delimited = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	w := ask(e, http.MethodGet, "/metrics", "Accept", delimited)
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	var want strings.Builder
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		expfmt.MetricFamilyToText(&want, &family) //nolint:errcheck // a buffer cannot fail
	}
	if got := ask(e, http.MethodGet, "/metrics").Body.String(); got != want.String() || strings.Count(got, "bilibili_up{") != 3 {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
}

func TestCompression(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL), func(o *server.Options) { o.DisableExporterMetrics = true })
	plain := ask(e, http.MethodGet, "/metrics").Body.String()
	for _, accept := range []string{"", "text/plain", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		for encoding, want := range map[string]string{
			"": "", "gzip": "gzip", "gzip, deflate, br, zstd": "gzip", "gzip;q=0": "", "identity": "", "br": "",
		} {
			w := ask(e, http.MethodGet, "/metrics", "Accept", accept, "Accept-Encoding", encoding)
			if got := w.Header().Get("Content-Encoding"); got != want {
				t.Errorf("Accept-Encoding %q: got %q, want %q", encoding, got, want)
			}
			if got := strings.Join(w.Header().Values("Vary"), ", "); !strings.Contains(got, "Accept-Encoding") || !strings.Contains(got+",", "Accept,") {
				t.Errorf("got Vary %q", got)
			}
			if w.Header().Get("Content-Encoding") != "gzip" || strings.HasPrefix(w.Header().Get("Content-Type"), "application/") {
				continue
			}
			unpacked, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(unpacked); err != nil || string(body) != plain {
				t.Errorf("error %v, got\n%s\nwant\n%s", err, body, plain)
			}
		}
	}
}

// TestNames asks for some metrics only, as promhttp offers.
func TestNames(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL))
	got := ask(e, http.MethodGet, "/metrics?name[]=bilibili_up&name[]=bilibili_quota_used").Body.String()
	if strings.Count(got, "# TYPE ") != 2 || !strings.Contains(got, "\nbilibili_up{wmid=\"1\"} 1\n") || !strings.Contains(got, "\nbilibili_quota_used 3\n") {
		t.Errorf("got\n%s", got)
	}
}
