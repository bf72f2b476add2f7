//go:build bench

package bench

import (
	"bytes"
	"context"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

// patient is a timeout within which everybody is asked.
const patient = 5 * time.Minute

// subject is an exporter to measure, within this process.
type subject struct {
	*server.Exporter
	server *httptest.Server
}

func (b *bench) newSubject(text, storage string) *subject {
	b.t.Helper()
	cfg, err := config.Parse("b.yml", strings.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := server.New(cfg, server.Options{
		Logger: log.NewNopLogger(), TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond, MaxRequests: 40, StoragePath: storage,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return &subject{e, httptest.NewServer(e)}
}

func (s *subject) url() string { return s.server.URL + "/metrics" }

func (s *subject) close() {
	s.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.Close(ctx)
}

// scrape makes a scrape, which must give values for the given number of users,
// and returns how long it took.
func (b *bench) scrape(s *subject, users int, timeout time.Duration) time.Duration {
	b.t.Helper()
	var body []byte
	took := timeOf(func() { body = b.get(s.url(), "identity", timeout) })
	if got := bytes.Count(body, []byte("\nbilibili_followers{")); got != users {
		b.t.Fatalf("got %d values, want %d", got, users)
	}
	return took
}

// refreshes measures how many calls a second are made when all users are due,
// without a store and with one.
func (b *bench) refreshes(users int) {
	var rates [2][]float64
	for range b.rarely() {
		for i, storage := range []string{"", b.t.TempDir()} {
			s := b.newSubject(b.api.config(users, time.Hour), storage)
			rates[i] = append(rates[i], float64(users)/b.scrape(s, users, patient).Seconds())
			s.close()
		}
	}
	without, with := median(rates[0]), median(rates[1])
	b.table.set("refresh of all users, without a store", "", users, "%.0f calls/s", without)
	b.table.set("refresh of all users, with a store", "≥ 5000 calls/s", users, "%.0f calls/s", with)
	b.table.set("refresh of all users: with, of without", "≥ 0.7", users, "%.2f", with/without)
}

// hangs measures scrapes while no call is answered. The second does not wait,
// since the first has.
func (b *bench) hangs(users int) {
	var first, second []time.Duration
	for range b.rarely() {
		one, two := b.hang(users)
		first, second = append(first, one), append(second, two)
	}
	b.table.set("scrape while all calls hang: past the deadline", "≤ 50 ms", users, "%.1f ms", milliseconds(median(first)))
	b.table.set("scrape while all calls hang: the next one", "< 50 ms + warm", users, "%.1f ms", milliseconds(median(second)))
}

// hang returns by how much a scrape misses its deadline, and how long the next
// one takes.
func (b *bench) hang(users int) (past, next time.Duration) {
	const interval, timeout, deadline = time.Second, 2 * time.Second, 1500 * time.Millisecond
	s := b.newSubject(b.api.config(users, interval), "")
	defer s.close()
	b.scrape(s, users, patient)
	b.setHang(true)
	defer b.setHang(false)
	time.Sleep(interval)
	return b.scrape(s, users, timeout) - deadline, b.scrape(s, users, timeout)
}
