// Package run runs config.alloy with the code of Grafana Alloy. TestRun of package check copies it into Alloy's module,
// because it needs internal packages, and starts it.
package run

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/grafana/alloy/internal/alloyseed"
	_ "github.com/grafana/alloy/internal/component/prometheus/remotewrite"
	_ "github.com/grafana/alloy/internal/component/prometheus/scrape"
	"github.com/grafana/alloy/internal/featuregate"
	"github.com/grafana/alloy/internal/runtime"
	"github.com/grafana/alloy/internal/runtime/logging"
	"github.com/grafana/alloy/internal/runtime/tracing"
	"github.com/grafana/alloy/internal/service"
	"github.com/grafana/alloy/internal/service/cluster"
	web "github.com/grafana/alloy/internal/service/http"
	"github.com/grafana/alloy/internal/service/labelstore"
	"github.com/grafana/alloy/internal/service/livedebugging"
)

// TestRun scrapes an exposition, and checks the timeout that is sent, and that all its metrics are written with their
// names.
func TestRun(t *testing.T) {
	config, exposition := os.Getenv("CONFIG"), os.Getenv("EXPOSITION")
	timeouts, written := make(chan string, 1), make(chan *prompb.WriteRequest)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		http.ServeFile(w, r, exposition)
		select {
		case timeouts <- r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"):
		default:
		}
	}))
	defer exporter.Close()
	database := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		request, err := remote.DecodeWriteRequest(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		select {
		case written <- request:
		case <-t.Context().Done():
		}
	}))
	defer database.Close()
	start(t, strings.NewReplacer("localhost:12233", exporter.Listener.Addr().String(),
		"http://localhost:9090", database.URL, `"1m"`, `"1s"`, `"30s"`, `"1s"`).Replace(string(must(os.ReadFile(config)))))

	if got := <-timeouts; got != "1" {
		t.Errorf("got the timeout %q in the header, want 1", got)
	}
	missing := make(map[string]bool)
	names := regexp.MustCompile(`(?m)^(\w+)[{ ]`)
	for _, sample := range names.FindAllSubmatch(must(os.ReadFile(exposition)), -1) {
		missing[string(sample[1])] = true
	}
	deadline := time.After(time.Minute)
	for len(missing) > 0 {
		select {
		case request := <-written:
			for _, series := range request.Timeseries {
				labels := make(map[string]string)
				for _, label := range series.Labels {
					labels[label.Name] = label.Value
				}
				if labels["job"] != "bilibili" {
					t.Errorf("got %v, want the job bilibili", labels)
				}
				delete(missing, labels["__name__"])
			}
		case <-deadline:
			t.Fatalf("not written: %v", missing)
		}
	}
}

// start runs a configuration until the test ends.
func start(t *testing.T, text string) {
	t.Helper()
	logger := must(logging.New(os.Stderr, logging.DefaultOptions))
	tracer := must(tracing.New(tracing.DefaultOptions))
	registry := prometheus.NewRegistry()
	members := must(cluster.New(cluster.Options{
		Log: logger, Tracer: tracer, Metrics: registry, NodeName: "local", AdvertiseAddress: "127.0.0.1:1",
		DiscoverPeers: func() ([]string, error) { return nil, nil },
	}))
	data := t.TempDir()
	alloyseed.Init(data, logger)
	alloy := runtime.New(runtime.Options{
		Logger: logger, Tracer: tracer, DataPath: data, Reg: registry,
		MinStability: featuregate.StabilityGenerallyAvailable,
		Services:     []service.Service{members, labelstore.New(logger, registry), livedebugging.New(), noWeb{}},
	})
	parsed := must(runtime.ParseSource("config.alloy", []byte(text)))
	if err := alloy.LoadSource(parsed, nil, os.Getenv("CONFIG")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		alloy.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
}

// noWeb takes the place of Alloy's server for HTTP, which needs further services.
type noWeb struct{}

func (noWeb) Definition() service.Definition {
	return service.Definition{Name: web.ServiceName, Stability: featuregate.StabilityGenerallyAvailable}
}

func (noWeb) Run(ctx context.Context, _ service.Host) error {
	<-ctx.Done()
	return nil
}

func (noWeb) Update(any) error { return nil }

func (noWeb) Data() any { return web.Data{BaseHTTPPath: "/", DialFunc: (&net.Dialer{}).DialContext} }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
