//go:build bench

package bench

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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
	floor := httptest.NewServer(floorOf(b.t, exposition))
	defer floor.Close()
	if got := b.get(floor.URL, "identity", patient); bytes.Count(got, []byte("\n")) != bytes.Count(exposition, []byte("\n")) {
		b.t.Fatalf("the floor is of other series:\n%s", got)
	}
	identity := b.warm(s, users, floor.URL, "identity", "≤ 0.25")
	b.warm(s, users, floor.URL, "gzip", "≤ 0.35")
	b.growth(users, identity.Seconds(), heap)
	b.table.set("live heap per user", "≤ 1024 B", users, "%.0f B", heap/float64(users))
}

// warm notes how long a scrape takes, and returns it.
func (b *bench) warm(s *subject, users int, floor, encoding, target string) time.Duration {
	body := b.get(s.url(), encoding, patient)
	raw := httptest.NewServer(fromMemory(body, encoding))
	defer raw.Close()
	var own, least, copied []time.Duration
	for range b.rounds {
		for url, took := range map[string]*[]time.Duration{s.url(): &own, floor: &least, raw.URL: &copied} { // in any order
			*took = append(*took, timeOf(func() { b.read(io.Discard, url, encoding, patient) }))
		}
	}
	allocations, allocated := allocationsOf(s, encoding)
	name := "warm scrape, " + encoding
	b.table.set(name, "", users, "%.2f ms", milliseconds(median(own)))
	b.table.set(name+": floor", "", users, "%.2f ms", milliseconds(median(least)))
	b.table.set(name+": raw", "", users, "%.2f ms", milliseconds(median(copied)))
	b.table.set(name+": of the floor", target, users, "%.3f", median(own).Seconds()/median(least).Seconds())
	b.table.set(name+": allocations", "", users, "%.0f", allocations)
	b.table.set(name+": allocated", "", users, "%.0f kB", allocated/1e3)
	b.table.set(name+": body", "", users, "%.0f kB", float64(len(body))/1e3)
	return median(own)
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
func allocationsOf(s *subject, encoding string) (allocations, allocated float64) {
	const times = 5
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", encoding)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		s.ServeHTTP(nowhere{}, r)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / times, float64(after.TotalAlloc-before.TotalAlloc) / times
}
