//go:build replicas

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// TestDatabaseDown kills the database of a running exporter while requests are in flight. Their responses are exposed
// at once, and recorded when the database is back. Meanwhile no request is sent.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t)
	release := make(chan struct{})
	api, config := exportertest.NewAPI(t, func(x *justoneapitest.Exchange) {
		<-release
		exportertest.Steady(x)
	})
	exportertest.Replace(t, config, "users: [", "quota: {min_interval: 1s}\nusers: [1, 2, ")
	p := startReplica(t, config, db.URL("postgres"))
	scraped := make(chan string)
	go func() { scraped <- scrape(t, p) }()
	await(t, 10*time.Second, "three requests in flight", func() bool { return api.Total().Requests == 3 })
	lease := db.Exec("postgres", selectLease)
	db.Kill()
	close(release)
	if got := samplesWith(<-scraped, followers); len(got) != 3 {
		t.Errorf("got values %v, want 3", got)
	}
	expectNoRequests(t, p, api)
	db.Resume()
	standby := startReplica(t, config, db.URL("postgres"))
	if got := samplesWith(scrape(t, standby), followers); len(got) != 0 {
		t.Errorf("got recorded values %v, want none yet", got)
	}
	scrape(t, p)
	p.Await(`msg="(Persistent state recovered)"`)
	if got := samplesWith(scrape(t, standby), followers); len(got) != 3 {
		t.Errorf("got recorded values %v, want 3", got)
	}
	if got := db.Exec("postgres", selectLease); got != lease {
		t.Errorf("got lease %s, want %s", got, lease)
	}
	if api.Total().Requests <= 3 {
		t.Error("no requests are sent when the database is back")
	}
}

// expectNoRequests scrapes an exporter without its database.
func expectNoRequests(t *testing.T, p *exportertest.Process, api *justoneapitest.Server) {
	t.Helper()
	failed := 0.0
	for range 3 {
		time.Sleep(1100 * time.Millisecond)
		start := time.Now()
		body := scrape(t, p)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("without the database, a scrape took %v", took)
		}
		if got := samplesWith(body, followers); len(got) != 3 {
			t.Errorf("got values %v, want 3", got)
		}
		before := failed
		if failed = sample(t, body, writeErrors) + sample(t, body, readErrors); failed <= before {
			t.Errorf("%v storage errors are counted, and %v before", failed, before)
		}
	}
	if got := api.Total().Requests; got != 3 {
		t.Errorf("got %d requests without the database, want the 3 before", got)
	}
	if got := strings.Count(p.Log(), `msg="Error writing persistent state"`); got < 1 || got > 3 {
		t.Errorf("the error was logged %d times:\n%s", got, p.Log())
	}
	p.Await(`(No request is sent until the database can be used)`)
}

// TestLostPackets has a network that loses all packets between an exporter and its database. A scrape waits
// a second, and the log contains few errors.
func TestLostPackets(t *testing.T) {
	t.Parallel()
	api := newRecorder(t)
	p, proxy := startBehindProxy(t, api)
	proxy.block(true)
	for i := range 10 {
		start := time.Now()
		if got := samplesWith(scrape(t, p), followers); len(got) != 3 {
			t.Errorf("got values %v, want 3", got)
		}
		if took := time.Since(start); took > 2*time.Second && i > 0 {
			t.Errorf("a scrape took %v", took)
		}
	}
	if got := strings.Count(p.Log(), "level=error"); got > 5 {
		t.Errorf("got %d errors in the log:\n%s", got, p.Log())
	}
	if got := api.requests(); got != 3 {
		t.Errorf("got %d requests, want the 3 before", got)
	}
	proxy.block(false)
	await(t, 20*time.Second, "requests are sent again", func() bool {
		scrape(t, p)
		return api.requests() >= 6
	})
	if _, took := p.End(syscall.SIGTERM); took > 5*time.Second {
		t.Errorf("it exited after %v", took)
	}
}

// TestStopWithoutDatabase stops an exporter that cannot reach its database.
func TestStopWithoutDatabase(t *testing.T) {
	t.Parallel()
	p, proxy := startBehindProxy(t, newRecorder(t))
	proxy.block(true)
	scrape(t, p)
	status, took := p.End(syscall.SIGTERM)
	if status != 0 || took > 15*time.Second {
		t.Errorf("got status %d after %v", status, took)
	}
	t.Logf("it exited after %v", took)
}
