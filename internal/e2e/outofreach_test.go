//go:build replicas

package e2e

import (
	"strings"
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
	if got := samples(<-scraped, followers); len(got) != 3 {
		t.Errorf("got values %v, want 3", got)
	}
	expectNoRequests(t, p, api)
	db.Resume()
	standby := startReplica(t, config, db.URL("postgres"))
	if got := samples(scrape(t, standby), followers); len(got) != 0 {
		t.Errorf("got recorded values %v, want none yet", got)
	}
	scrape(t, p)
	p.Await(`msg="(Persistent state recovered)"`)
	if got := samples(scrape(t, standby), followers); len(got) != 3 {
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
		if got := samples(body, followers); len(got) != 3 {
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
	p.Await(`(Check the database: no request is sent until it can be used)`)
}
