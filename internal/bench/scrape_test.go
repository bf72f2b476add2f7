//go:build bench

package bench

import (
	"bytes"
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

// measureScrapes measures scrapes that send no requests, next to the floor, which is a collector of fixed metrics with
// the same series, and raw, which is the same body from memory.
func (b *bench) measureScrapes(users int) {
	before := b.liveHeap()
	s := b.newExporter(b.api.config(users, time.Hour), storage{dir: b.t.TempDir()})
	defer s.close()
	b.scrape(s, users, longTimeout)
	b.scrape(s, users, longTimeout)
	heap := float64(b.liveHeap() - before)

	exposition := b.get(s.url(), "identity", longTimeout)
	floor := newFloor(b.t, exposition)
	r := httptest.NewRecorder()
	floor.ServeHTTP(r, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil))
	if !slices.Equal(sortedSeries(r.Body.String()), sortedSeries(string(exposition))) {
		b.t.Fatalf("the floor has other series:\n%s", r.Body)
	}
	identity := b.measureWarm(s, users, floor, "identity", "≤ 0.25")
	b.measureWarm(s, users, floor, "gzip", "≤ 0.35")
	b.measureGrowth("warm scrape, identity", users, identity.Seconds())
	b.measureGrowth("live heap", users, heap)
	b.table.set("live heap per user", "≤ 1024 B", users, "%.0f B", heap/float64(users))
}

// sortedSeries returns the sorted series and comments of an exposition.
func sortedSeries(exposition string) []string {
	var series []string
	for line := range strings.Lines(exposition) {
		series = append(series, line[:strings.LastIndexByte(line, ' ')])
	}
	slices.Sort(series)
	return series
}

// variant is a way to serve the same series.
type variant struct {
	name      string
	handler   http.Handler
	url       string
	durations []time.Duration
}

// measureWarm measures a scrape next to other ways to serve the same series, and returns how long it takes.
func (b *bench) measureWarm(s *exporter, users int, floor http.Handler, encoding, target string) time.Duration {
	body, name := b.get(s.url(), encoding, longTimeout), "warm scrape, "+encoding
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
			v.durations = append(v.durations, measure(func() { b.read(io.Discard, v.url, encoding, longTimeout) }))
		}
	}
	for _, v := range variants {
		allocations, bytes := allocationsPerScrape(v.handler, encoding)
		b.table.set(v.name, "", users, "%.2f ms, %.0f allocations, %.0f kB",
			milliseconds(median(v.durations)), allocations, bytes/1e3)
	}
	duration, minimum := median(variants[0].durations), median(variants[1].durations)
	b.table.set(name+": ÷ floor", target, users, "%.3f", duration.Seconds()/minimum.Seconds())
	b.table.set(name+": body", "", users, "%.0f kB", float64(len(body))/1e3)
	return duration
}

// measureGrowth compares a measurement with that of the previous number of users, which is a tenth.
func (b *bench) measureGrowth(name string, users int, value float64) {
	if previous, ok := b.previous[name]; ok {
		b.table.set(name+": growth", "≤ 11", users, "× %.1f", value/previous)
	}
	b.previous[name] = value
}

// liveHeap returns the bytes in use, without those of the last response.
func (b *bench) liveHeap() uint64 {
	b.body = bytes.Buffer{}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// discard is an [http.ResponseWriter] that discards the body.
type discard http.Header

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// allocationsPerScrape returns the number and the bytes of the allocations of a scrape.
func allocationsPerScrape(h http.Handler, encoding string) (allocations, bytes float64) {
	const times = 5
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", encoding)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		h.ServeHTTP(discard{}, r)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / times, float64(after.TotalAlloc-before.TotalAlloc) / times
}
