package collector_test

import (
	"context"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/refresh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "update the golden files")

// fakeAPI responds as its function says and records the requests.
type fakeAPI struct {
	fixedBalance
	respond func(ctx context.Context, wmid int64) (justoneapi.Stat, error)

	mu          sync.Mutex // protects the following fields
	started     map[int64][]time.Time
	order       []int64 // users requested since takeOrder
	inFlight    int
	maxInFlight int
}

func newFakeAPI(respond func(ctx context.Context, wmid int64) (justoneapi.Stat, error)) *fakeAPI {
	return &fakeAPI{respond: respond, started: make(map[int64][]time.Time)}
}

func (f *fakeAPI) RelationStat(ctx context.Context, _ justoneapi.Token, wmid int64) (justoneapi.Stat, error) {
	f.mu.Lock()
	f.started[wmid] = append(f.started[wmid], time.Now())
	f.order = append(f.order, wmid)
	f.inFlight++
	f.maxInFlight = max(f.maxInFlight, f.inFlight)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	return f.respond(ctx, wmid)
}

// requests returns the number of requests for a user, or for all users if wmid is 0.
func (f *fakeAPI) requests(wmid int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wmid != 0 {
		return len(f.started[wmid])
	}
	var requests int
	for _, starts := range f.started {
		requests += len(starts)
	}
	return requests
}

// takeOrder returns the users requested since the previous takeOrder, in order.
func (f *fakeAPI) takeOrder() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	order := f.order
	f.order = nil
	return order
}

// fixedBalance is the part of an API that concerns the balance.
type fixedBalance struct{}

func (fixedBalance) Balance(context.Context, justoneapi.Token) (justoneapi.Balance, error) {
	return justoneapi.Balance{Amount: 100, Currency: "CNY"}, nil
}

// instant responds at once. A user's number of followers is 10 times its WMID.
func instant(_ context.Context, wmid int64) (justoneapi.Stat, error) {
	return justoneapi.Stat{Followers: 10 * wmid, Following: wmid}, nil
}

// after responds like instant, but only after d.
func after(d time.Duration) func(context.Context, int64) (justoneapi.Stat, error) {
	return func(ctx context.Context, wmid int64) (justoneapi.Stat, error) {
		select {
		case <-time.After(d):
			return instant(ctx, wmid)
		case <-ctx.Done():
			return justoneapi.Stat{}, timeoutError()
		}
	}
}

func timeoutError() error {
	return &justoneapi.Error{Kind: justoneapi.Kind{Code: justoneapi.CodeTimeout}}
}

// newPipeAPI returns a stand-in API that gives every request the same response, and the real client connected to it,
// for tests with a fake clock. The client's transport is modified by the given functions.
func newPipeAPI(
	t *testing.T, response justoneapitest.Response, changes ...func(*http.Transport),
) (*justoneapitest.Server, *justoneapi.Client) {
	t.Helper()
	server := justoneapitest.NewPipeServer()
	t.Cleanup(server.Close)
	server.SetAll(response)
	transport := server.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	for _, change := range changes {
		change(transport)
	}
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server, justoneapi.New(base, transport)
}

// users returns users with the WMIDs 1 to n.
func users(n int64) []collector.User {
	var users []collector.User
	for wmid := range n {
		users = append(users, collector.User{WMID: wmid + 1, Name: "user"})
	}
	return users
}

// settingsFor returns the usual settings.
func settingsFor(api refresh.API, users []collector.User) collector.Settings {
	return collector.Settings{
		API: api, Token: func() justoneapi.Token { return justoneapi.NewToken(justoneapitest.Token) }, Users: users,
		MaxAge: 24 * time.Hour, RequestTimeout: time.Minute, MaxConcurrency: 4, MaxRequestsPerSecond: 1000,
	}
}

// limitsFor returns the usual limits.
func limitsFor(users []collector.User) quota.Limits {
	limits := quota.Limits{RetryInterval: time.Minute, Zone: time.UTC}
	for _, user := range users {
		limits.Users = append(limits.Users, quota.User{WMID: user.WMID, MinInterval: 15 * time.Minute})
	}
	return limits
}

// newCollector returns a collector with the usual settings, modified by the given functions.
func newCollector(
	t *testing.T, api refresh.API, users []collector.User, changes ...func(*collector.Config),
) *collector.Collector {
	t.Helper()
	config := collector.Config{
		Settings: settingsFor(api, users), Guard: quota.New(quota.Config{Limits: limitsFor(users)}),
		CollectTimeout: 9500 * time.Millisecond, Logger: log.NewNopLogger(),
		Advice: func(justoneapi.Kind) string { return "do this" },
	}
	for _, change := range changes {
		change(&config)
	}
	c := collector.New(config)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

// scrape refreshes for at most the timeout and returns how long it took.
func scrape(c *collector.Collector, timeout time.Duration) time.Duration {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c.Refresh(ctx)
	return time.Since(start)
}

// gather returns the exposition of a collector: the named metrics, or all.
func gather(t *testing.T, c prometheus.Collector, names ...string) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	selected := make(map[string]bool)
	for _, name := range names {
		selected[name] = true
	}
	var text strings.Builder
	for _, family := range families {
		if len(names) > 0 && !selected[family.GetName()] {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// expectMetrics compares the exposition with a golden file and lints it.
func expectMetrics(t *testing.T, c prometheus.Collector, fixture string) {
	t.Helper()
	got := gather(t, c)
	path := filepath.Join("testdata", fixture)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if problem.Metric != "upstream_error_code" || problem.Text != `counter metrics should have "_total" suffix` {
			t.Errorf("promlint: %s: %s", problem.Metric, problem.Text)
		}
	}
}
