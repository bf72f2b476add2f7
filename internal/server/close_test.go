package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// slowBalanceAPI also returns the balance after a while.
type slowBalanceAPI struct {
	slowAPI
	balance slowAPI
}

func (a slowBalanceAPI) Balance(ctx context.Context, token justoneapi.Token) (justoneapi.Balance, error) {
	_, err := a.balance.RelationStat(ctx, token, 0)
	return justoneapi.Balance{Amount: 1, Currency: "CNY"}, err
}

// TestClose closes the exporter, 10 s after a scrape has requested three users. It expects Close to wait for requests
// in flight as long as they can take, and no longer than its context, and to log how many there are.
func TestClose(t *testing.T) {
	const waiting = `msg="Waiting for in-flight requests" `
	for name, test := range map[string]struct {
		users   time.Duration // of a request for a user
		balance time.Duration // of one for the balance
		timeout time.Duration // of Close's context
		took    time.Duration
		logged  []string
		values  int
	}{
		"nothing in flight": {time.Second, time.Second, time.Hour, 0, nil, 3},
		"requests in flight": {
			59 * time.Second, time.Second, time.Hour, 49 * time.Second,
			[]string{waiting + "requests=3 timeout=1m0s"}, 3,
		},
		"requests that time out": {
			time.Hour, time.Second, time.Hour, 50 * time.Second,
			[]string{waiting + "requests=3 timeout=1m0s", `msg="Error fetching user"`}, 0,
		},
		"the balance in flight": {
			time.Second, 59 * time.Second, time.Hour, 49 * time.Second,
			[]string{waiting + "requests=1 timeout=1m0s"}, 3,
		},
		"canceled": {
			59 * time.Second, 59 * time.Second, time.Second, time.Second,
			[]string{waiting + "requests=4 timeout=1m0s", `msg="Request canceled by shutdown; it may have been billed"`}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, logged := newSlowExporter(t, slowBalanceAPI{slowAPI(test.users), slowAPI(test.balance)})
				scrape := func() string {
					w := httptest.NewRecorder()
					e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
					return w.Body.String()
				}
				go scrape()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				logged.Reset()
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				start := time.Now()
				e.Close(ctx)
				if got := time.Since(start); got != test.took {
					t.Errorf("closing took %v, want %v", got, test.took)
				}
				synctest.Wait()
				for _, want := range test.logged {
					if !strings.Contains(logged.String(), want) {
						t.Errorf("the log lacks %s", want)
					}
				}
				if got := logged.String(); test.logged == nil && got != "" || strings.Contains(got, "fetching account balance") {
					t.Errorf("got the log\n%s", got)
				}
				if got := strings.Count(scrape(), "\nbilibili_followers{"); got != test.values {
					t.Errorf("got %d values, want %d", got, test.values)
				}
			})
		})
	}
}

// newSlowExporter returns an exporter with an API that needs no network, and its log.
func newSlowExporter(t *testing.T, api slowBalanceAPI) (*Exporter, *strings.Builder) {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(t.TempDir(), "b.yml"),
		strings.NewReader("{api: {token: t, balance_interval: 1h, max_requests_per_second: 1000}, users: [1, 2, 3]}"))
	if err != nil {
		t.Fatal(err)
	}
	logged := &strings.Builder{}
	logger := log.NewLogfmtLogger(log.NewSyncWriter(logged))
	e, err := New(cfg, Options{Logger: logger, TelemetryPath: "/metrics", TimeoutOffset: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	loaded := *e.current.Load()
	loaded.settings.API = api
	e.collector.Reload(loaded.settings, loaded.limits)
	e.apply(&loaded)
	return e, logged
}
