package exporter_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/exporter"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

const benchUsers = 10_000

// benchConfig is for many users, an API that answers at once, and 64 calls at a time.
func benchConfig(base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "api: {base_url: '%s', token: %s, max_concurrency: 64, max_requests_per_second: 1000000}\nusers:\n", base, justoneapitest.Token)
	for wmid := range benchUsers {
		fmt.Fprintf(&b, "  - %d\n", wmid+1)
	}
	return b.String()
}

// refreshAll makes a scrape that asks about all users.
func refreshAll(b *testing.B, e *exporter.Exporter) {
	b.Helper()
	body := ask(e, http.MethodGet, "/metrics", timeoutHeader, "600").Body.String()
	if got := strings.Count(body, "\nbilibili_followers{"); got != benchUsers {
		b.Fatalf("got %d values, want %d", got, benchUsers)
	}
}

func closeExporter(e *exporter.Exporter) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.Close(ctx)
}

// BenchmarkRefresh asks about all users, without a store and with one.
func BenchmarkRefresh(b *testing.B) {
	for _, store := range []string{"off", "on"} {
		b.Run("store="+store, func(b *testing.B) {
			server := justoneapitest.NewServer()
			defer server.Close()
			server.SetAll(justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				e, _ := newExporter(b, benchConfig(server.URL), func(o *exporter.Options) {
					if store == "on" {
						o.StoragePath = b.TempDir()
					}
				})
				b.StartTimer()
				refreshAll(b, e)
				b.StopTimer()
				closeExporter(e)
				b.StartTimer()
			}
			b.ReportMetric(float64(benchUsers*b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkStart makes an exporter that knows all users from its store, and
// has it answer a first scrape, which calls nobody.
func BenchmarkStart(b *testing.B) {
	server := justoneapitest.NewServer()
	defer server.Close()
	server.SetAll(justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	dir := b.TempDir()
	change := func(o *exporter.Options) { o.StoragePath = dir }
	text := benchConfig(server.URL)
	e, _ := newExporter(b, text, change)
	refreshAll(b, e)
	closeExporter(e)
	before := server.Total().Requests
	b.ResetTimer()
	for range b.N {
		e, _ := newExporter(b, text, change)
		refreshAll(b, e)
		b.StopTimer()
		closeExporter(e)
		b.StartTimer()
	}
	if got := server.Total().Requests; got != before {
		b.Errorf("%d calls after a restart", got-before)
	}
}
