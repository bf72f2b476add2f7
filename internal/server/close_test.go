package server

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// TestClose closes an exporter one second after a scrape that has started requests for two users.
func TestClose(t *testing.T) {
	const waiting = `msg="Waiting for in-flight requests" requests=2 timeout=1m0s`
	for name, test := range map[string]struct {
		api      slowAPI
		canceled time.Duration // when the context of Close ends; 0 = never
		want     time.Duration // how long Close takes
		values   int           // how many users then have one
		log      string
	}{
		"no requests in flight":  {api: 0, want: 0, values: 2},
		"responses are recorded": {api: slowAPI(50 * time.Second), want: 49 * time.Second, values: 2, log: waiting},
		"at most api.timeout":    {api: slowAPI(time.Hour), want: 59 * time.Second, log: waiting},
		"canceled":               {api: slowAPI(time.Hour), canceled: 3 * time.Second, want: 3 * time.Second, log: waiting},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, err := config.Parse("b.yml", strings.NewReader("{api: {token: t, max_requests_per_second: 100}, users: [1, 2]}"))
				if err != nil {
					t.Fatal(err)
				}
				var logged bytes.Buffer
				e, err := New(cfg, Options{
					Logger: log.NewLogfmtLogger(log.NewSyncWriter(&logged)), TelemetryPath: "/metrics", StoragePath: t.TempDir(),
				})
				if err != nil {
					t.Fatal(err)
				}
				current := e.current.Load()
				current.settings.API = test.api
				e.collector.Reload(current.settings, current.limits)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				e.collector.Refresh(ctx)
				<-ctx.Done()

				start := time.Now()
				ctx, cancel = context.WithCancel(t.Context())
				defer cancel()
				if test.canceled > 0 {
					time.AfterFunc(test.canceled, cancel)
				}
				e.Close(ctx)
				if got := time.Since(start); got < test.want || got > test.want+100*time.Millisecond {
					t.Errorf("Close took %v, want %v", got, test.want)
				}
				var values int
				for _, user := range e.collector.Snapshot().Users() {
					if user.Exposed {
						values++
					}
				}
				if values != test.values {
					t.Errorf("%d users have a value, want %d", values, test.values)
				}
				if !strings.Contains(logged.String(), test.log) || strings.Contains(logged.String(), "Waiting") != (test.log != "") {
					t.Errorf("want %q in\n%s", test.log, logged.String())
				}
			})
		})
	}
}
