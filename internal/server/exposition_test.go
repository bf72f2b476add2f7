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
	const text, protobuf = "text/plain; version=0.0.4", "application/vnd.google.protobuf"
	for accept, want := range map[string]string{
		"": text,
		"application/openmetrics-text; version=1.0.0":                                               text,
		"application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1": text,
		protobuf + ";proto=io.prometheus.client.MetricFamily;encoding=delimited":                    protobuf,
		protobuf + ";proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,*/*":          protobuf,
	} {
		got := send(e, http.MethodGet, "/metrics", "Accept", accept).Header().Get("Content-Type")
		if !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: got %s, want %s", accept, got, want)
		}
	}
}

// TestTextEqualsRegistry compares the text format, which has its own fast writer, with the registry's metrics in
// protobuf.
func TestTextEqualsRegistry(t *testing.T) {
	api := newServer(t)
	api.Set(2, justoneapitest.BilibiliCode(-404, "啥都木有"))
	e, _ := newExporter(t, configFor(api.URL), func(o *server.Options) { o.DisableExporterMetrics = true })
	send(e, http.MethodGet, "/metrics")
	const delimited = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	w := send(e, http.MethodGet, "/metrics", "Accept", delimited)
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
	got := send(e, http.MethodGet, "/metrics").Body.String()
	if got != want.String() || strings.Count(got, "bilibili_up{") != 3 {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
}

func TestCompression(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL), func(o *server.Options) { o.DisableExporterMetrics = true })
	plain := send(e, http.MethodGet, "/metrics").Body.String()
	for _, accept := range []string{
		"", "text/plain", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		for encoding, want := range map[string]string{
			"": "", "gzip": "gzip", "gzip, deflate, br, zstd": "gzip", "gzip;q=0": "", "identity": "", "br": "",
		} {
			w := send(e, http.MethodGet, "/metrics", "Accept", accept, "Accept-Encoding", encoding)
			if got := w.Header().Get("Content-Encoding"); got != want {
				t.Errorf("Accept-Encoding %q: got %q, want %q", encoding, got, want)
			}
			vary := strings.Join(w.Header().Values("Vary"), ", ")
			if !strings.Contains(vary, "Accept-Encoding") || !strings.Contains(vary+",", "Accept,") {
				t.Errorf("got Vary %q", vary)
			}
			if want != "gzip" || strings.HasPrefix(accept, "application/") {
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

// TestNames requests some metrics only, as promhttp supports.
func TestNames(t *testing.T) {
	e, _ := newExporter(t, configFor(newServer(t).URL))
	got := send(e, http.MethodGet, "/metrics?name[]=bilibili_up&name[]=bilibili_quota_used").Body.String()
	if strings.Count(got, "# TYPE ") != 2 || !strings.Contains(got, "\nbilibili_up{wmid=\"1\"} 1\n") ||
		!strings.Contains(got, "\nbilibili_quota_used 3\n") {
		t.Errorf("got\n%s", got)
	}
}
