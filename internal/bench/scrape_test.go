//go:build bench

package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"time"
)

// scrapes measures scrapes that call nobody, beside the floor, which is the same
// series from a plain collector of metrics that were made beforehand, and raw,
// the same body from memory.
func (b *bench) scrapes(users int) {
	before := liveHeap()
	s := b.newSubject(b.api.config(users, time.Hour), b.t.TempDir())
	defer s.close()
	b.scrape(s, users, patient)
	b.scrape(s, users, patient)
	heap := float64(liveHeap() - before)

	exposition := b.get(s.url(), "identity", patient)
	floor := floorOf(b.t, exposition)
	r := httptest.NewRecorder()
	floor.ServeHTTP(r, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil))
	if !slices.Equal(seriesOf(r.Body.String()), seriesOf(string(exposition))) {
		b.t.Fatalf("the floor is of other series:\n%s", r.Body)
	}
	identity := b.warm(s, users, floor, "identity", "≤ 0.25")
	b.warm(s, users, floor, "gzip", "≤ 0.35")
	b.growth(users, identity.Seconds(), heap)
	b.table.set("live heap per user", "≤ 1024 B", users, "%.0f B", heap/float64(users))
}

// seriesOf returns the series of an exposition, and its comments.
func seriesOf(exposition string) []string {
	var series []string
	for line := range strings.Lines(exposition) {
		series = append(series, line[:strings.LastIndexByte(line, ' ')])
	}
	slices.Sort(series)
	return series
}

// variant is a way to serve the same series.
type variant struct {
	name    string
	handler http.Handler
	url     string
	took    []time.Duration
}

// warm notes what a scrape takes, beside other ways to serve the same series,
// and returns how long it takes.
func (b *bench) warm(s *subject, users int, floor http.Handler, encoding, target string) time.Duration {
	body, name := b.get(s.url(), encoding, patient), "warm scrape, "+encoding
	variants := []*variant{
		{name: name, handler: s},
		{name: name + ": floor", handler: floor},
		{name: name + ": raw", handler: fromMemory(body, encoding)},
	}
	for _, v := range variants {
		server := httptest.NewServer(v.handler)
		defer server.Close()
		v.url = server.URL + "/metrics"
	}
	for range b.rounds {
		for _, i := range rand.Perm(len(variants)) {
			v := variants[i]
			v.took = append(v.took, timeOf(func() { b.read(io.Discard, v.url, encoding, patient) }))
		}
	}
	for _, v := range variants {
		allocations, allocated := allocationsOf(v.handler, encoding)
		b.table.set(v.name, "", users, "%.2f ms, %.0f allocations, %.0f kB", milliseconds(median(v.took)), allocations, allocated/1e3)
	}
	b.table.set(name+": of the floor", target, users, "%.3f", median(variants[0].took).Seconds()/median(variants[1].took).Seconds())
	b.table.set(name+": body", "", users, "%.0f kB", float64(len(body))/1e3)
	return median(variants[0].took)
}

// growth notes how time and memory have grown since the smaller number of users
// before.
func (b *bench) growth(users int, took, heap float64) {
	const ofTime, ofMemory = "growth of the time, identity", "growth of the live heap"
	if b.former.took == 0 {
		b.table.set(ofTime, "≤ 11", users, "")
		b.table.set(ofMemory, "≤ 10.5", users, "")
	} else {
		b.table.set(ofTime, "", users, "× %.1f", took/b.former.took)
		b.table.set(ofMemory, "", users, "× %.1f", heap/b.former.heap)
	}
	b.former.took, b.former.heap = took, heap
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nowhere is an [http.ResponseWriter] that keeps nothing.
type nowhere http.Header

func (n nowhere) Header() http.Header         { return http.Header(n) }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// allocationsOf returns how often, and how many bytes, a scrape allocates.
func allocationsOf(h http.Handler, encoding string) (allocations, allocated float64) {
	const times = 5
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", encoding)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		h.ServeHTTP(nowhere{}, r)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / times, float64(after.TotalAlloc-before.TotalAlloc) / times
}
