//go:build crash || replicas

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// recorder is a stand-in for the API that records the requests for each user. Followers grow with time, so that an
// older value is a smaller one.
type recorder struct {
	*httptest.Server
	unbilledEvery int // every so many requests, one gets a response that is not billed; 0 = none does

	mu          sync.Mutex // protects the following fields
	arrivals    map[int64][]arrival
	values      map[int64]map[float64]bool // the followers that were sent for each user
	balances    []arrival                  // requests for the balance
	connections int
}

// arrival is a request.
type arrival struct {
	at       time.Time
	unbilled bool // whether its response is not billed
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	api, failing := justoneapitest.NewAPI(), justoneapitest.NewAPI()
	start := time.Now()
	failing.SetAll(justoneapitest.Code(301, "Collection failed, please try again"))
	r := &recorder{arrivals: make(map[int64][]arrival), values: make(map[int64]map[float64]bool)}
	api.SetAll(func(x *justoneapitest.Exchange) {
		justoneapitest.Stat(justoneapitest.Constant(r.nextValue(x.WMID, start)), 1)(x)
	})
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		unbilled := r.record(t, req)
		time.Sleep(rand.N(60 * time.Millisecond))
		if unbilled {
			failing.ServeHTTP(w, req)
			return
		}
		api.ServeHTTP(w, req)
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch state {
		case http.StateNew:
			r.connections++
		case http.StateClosed, http.StateHijacked:
			r.connections--
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

// record records a request and reports whether its response is not billed.
func (r *recorder) record(t *testing.T, req *http.Request) (unbilled bool) {
	now := time.Now()
	if req.URL.Path == justoneapi.BalancePath {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.balances = append(r.balances, arrival{at: now})
		return false
	}
	wmid, err := strconv.ParseInt(req.URL.Query().Get("wmid"), 10, 64)
	if err != nil {
		t.Error(err)
	}
	requests := r.requests()
	r.mu.Lock()
	defer r.mu.Unlock()
	unbilled = r.unbilledEvery > 0 && requests%r.unbilledEvery == r.unbilledEvery-1
	r.arrivals[wmid] = append(r.arrivals[wmid], arrival{now, unbilled})
	return unbilled
}

// nextValue returns the followers of a user now, and records that they are sent.
func (r *recorder) nextValue(wmid int64, start time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	value := int64(time.Since(start))
	if r.values[wmid] == nil {
		r.values[wmid] = make(map[float64]bool)
	}
	r.values[wmid][float64(value)] = true
	return value
}

// requests returns the number of requests for users so far.
func (r *recorder) requests() int {
	all, _ := r.count()
	return all
}

// count returns the number of requests for users so far, and how many of them the vendor counts.
func (r *recorder) count() (all, counted int) { return r.countUntil(time.Now()) }

// countUntil does so up to a moment.
func (r *recorder) countUntil(end time.Time) (all, counted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, arrivals := range r.arrivals {
		for _, a := range arrivals {
			if a.at.After(end) {
				continue
			}
			all++
			if !a.unbilled {
				counted++
			}
		}
	}
	return all, counted
}

// sent reports whether a value has been sent for a user.
func (r *recorder) sent(wmid int64, value float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values[wmid][value]
}

// awaitIdle waits until all connections of processes that were killed are closed.
func (r *recorder) awaitIdle() {
	for {
		r.mu.Lock()
		connections := r.connections
		r.mu.Unlock()
		if connections == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// shortestGap returns the shortest time between two requests, after a response that is billed and after one that is
// not.
func shortestGap(arrivals []arrival) (billed, unbilled time.Duration) {
	billed, unbilled = time.Hour, time.Hour
	for i := 1; i < len(arrivals); i++ {
		gap := &billed
		if arrivals[i-1].unbilled {
			gap = &unbilled
		}
		*gap = min(*gap, arrivals[i].at.Sub(arrivals[i-1].at))
	}
	return billed, unbilled
}

// writeConfig writes a configuration file for the API. apiKeys and quotaKeys are further keys in YAML's flow style.
func (r *recorder) writeConfig(t *testing.T, apiKeys, quotaKeys string, users int) string {
	t.Helper()
	text := fmt.Sprintf("api: {base_url: '%s', token: %s, %s}\nquota: {%s}\nusers:\n",
		r.URL, justoneapitest.Token, apiKeys, quotaKeys)
	for i := range users {
		text += fmt.Sprintf("  - %d\n", i+1)
	}
	return exportertest.WriteFile(t, "b.yml", text)
}

// noonZone returns a time zone in which it is about noon, so that no quota day ends during the test.
func noonZone() string {
	return fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12)
}
