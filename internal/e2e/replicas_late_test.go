//go:build replicas

package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// startBehindProxy starts a database and an exporter behind a proxy. The exporter is active and its users are due.
func startBehindProxy(t *testing.T, api *recorder) (*exportertest.Process, *dbProxy) {
	t.Helper()
	db := pgtest.Start(t)
	proxy := startProxy(t, fmt.Sprintf("127.0.0.1:%d", db.Port))
	config := api.writeConfig(t, "max_requests_per_second: 60", "min_interval: 1s, daily_limit: 1000000", 3)
	p := startReplica(t, config, pgtest.URL("postgres", proxy.port(), "postgres"))
	scrape(t, p)
	time.Sleep(1100 * time.Millisecond)
	return p, proxy
}

// expectNotSent expects that the users that were due have not been requested, and that nothing is charged for that;
// then that they are requested at the next scrape.
func expectNotSent(t *testing.T, p *exportertest.Process, api *recorder) {
	t.Helper()
	time.Sleep(time.Second)
	if got := api.requests(); got != 3 {
		t.Errorf("got %d requests, want the 3 before", got)
	}
	if got := strings.Count(p.Log(), `msg="Request not sent"`); got != 3 {
		t.Errorf("the log contains %d requests that were not sent, want 3:\n%s", got, p.Log())
	}
	if used := sample(t, scrape(t, p), usedMetric); used != 6 || api.requests() != 6 {
		t.Errorf("then there were %d requests and %v used, want 6", api.requests(), used)
	}
}

// TestFrozenBeforeSend freezes an exporter when the database has committed the records of requests, for longer than a
// request may take to be sent.
func TestFrozenBeforeSend(t *testing.T) {
	t.Parallel()
	api := newRecorder(t)
	p, proxy := startBehindProxy(t, api)
	var recorded atomic.Bool
	frozen := make(chan struct{})
	proxy.setFilter(func(c chunk) bool {
		recorded.CompareAndSwap(false, !c.fromServer && strings.Contains(c.data, `"in_flight":true`))
		if !recorded.Load() || !c.fromServer || !strings.Contains(c.data, "COMMIT\x00") {
			return false
		}
		freeze(t, p)
		close(frozen)
		return true
	})
	go scraper.Get("http://" + p.Address() + "/metrics") //nolint:errcheck // it times out
	<-frozen
	time.Sleep(quota.MaxSendDelay + 2*time.Second)
	p.Signal(syscall.SIGCONT)
	expectNotSent(t, p, api)
}

// TestSlowDatabase has a database that takes longer to record requests than they may take to be sent.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	api := newRecorder(t)
	p, proxy := startBehindProxy(t, api)
	var slow, recorded atomic.Bool
	done := make(chan struct{})
	proxy.setFilter(func(c chunk) bool {
		committed := c.fromServer && strings.Contains(c.data, "COMMIT\x00")
		recorded.CompareAndSwap(false, !c.fromServer && strings.Contains(c.data, `"in_flight":true`))
		if slow.Load() && c.fromServer {
			time.Sleep(2 * time.Second)
		}
		slow.CompareAndSwap(false, committed) // of the lease
		if committed && recorded.Load() {
			close(done)
		}
		return committed && recorded.Load()
	})
	scrape(t, p)
	<-done
	p.Await(`msg="Request not sent" .*(recording it took 1\d\.)`)
	expectNotSent(t, p, api)
}
