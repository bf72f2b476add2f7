//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

// longTimeout is a scrape timeout that suffices to refresh all users.
const longTimeout = 5 * time.Minute

// exporter is an exporter within this process.
type exporter struct {
	*server.Exporter
	server *httptest.Server
}

// storage is where an exporter keeps its state: in a directory, in a namespace of the bench's database, or nowhere.
type storage struct{ dir, namespace string }

func (b *bench) newExporter(text string, storage storage) *exporter {
	b.t.Helper()
	cfg, err := config.Parse("b.yml", strings.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	options := server.Options{
		Logger: log.NewNopLogger(), TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond, MaxRequests: 40,
		StoragePath: storage.dir, StorageNamespace: storage.namespace,
	}
	if storage.namespace != "" {
		options.StorageURL = b.database.URL("postgres")
	}
	e, err := server.New(cfg, options)
	if err != nil {
		b.t.Fatal(err)
	}
	return &exporter{e, httptest.NewServer(e)}
}

func (s *exporter) url() string { return s.server.URL + "/metrics" }

func (s *exporter) close() {
	s.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.Close(ctx)
}

// scrape sends a scrape, checks the number of users with values, and returns how long the scrape took.
func (b *bench) scrape(s *exporter, users int, timeout time.Duration) time.Duration {
	b.t.Helper()
	var body []byte
	duration := measure(func() { body = b.get(s.url(), "identity", timeout) })
	if got := bytes.Count(body, []byte("\nbilibili_followers{")); got != users {
		b.t.Fatalf("got %d values, want %d", got, users)
	}
	return duration
}

// measureRefreshes measures the requests per second when all users are due, without a store and with each engine.
func (b *bench) measureRefreshes(users int) {
	engines := []string{"without a store", "SQLite", "PostgreSQL"}
	targets := map[string]string{"SQLite": "≥ 0.7"}
	rates := make(map[string][]float64)
	for round := range b.slowRounds() {
		for i, storage := range []storage{{}, {dir: b.t.TempDir()}, {namespace: fmt.Sprint("refresh/", users, "/", round)}} {
			s := b.newExporter(b.api.config(users, time.Hour), storage)
			rates[engines[i]] = append(rates[engines[i]], float64(users)/b.scrape(s, users, longTimeout).Seconds())
			s.close()
		}
	}
	without := median(rates[engines[0]])
	for _, engine := range engines {
		rate := median(rates[engine])
		b.table.set("refresh of all users, "+engine, targets[engine], users, "%.0f requests/s, × %.2f", rate, rate/without)
	}
	b.measureGrowth("refresh, SQLite", users, float64(users)/median(rates["SQLite"]))
}

// measureStandby measures scrapes of a replica on standby, which loads all records each time.
func (b *bench) measureStandby(users int) {
	text, storage := b.api.config(users, time.Hour), storage{namespace: fmt.Sprint("standby/", users)}
	active := b.newExporter(text, storage)
	defer active.close()
	b.scrape(active, users, longTimeout)
	standby := b.newExporter(text, storage)
	defer standby.close()
	var durations []time.Duration
	for range b.rounds {
		durations = append(durations, b.scrape(standby, users, longTimeout))
	}
	b.table.set("scrape on standby", "≤ 360 ms", users, "%.1f ms", milliseconds(median(durations)))
}

// measureHangs measures two scrapes while the API hangs. The second one does not wait, because the first one has.
func (b *bench) measureHangs(users int) {
	var first, second []time.Duration
	for range b.slowRounds() {
		one, two := b.hang(users)
		first, second = append(first, one), append(second, two)
	}
	b.table.set("scrape while the API hangs: past the deadline", "≤ 50 ms", users,
		"%.1f ms", milliseconds(median(first)))
	b.table.set("scrape while the API hangs: next scrape", "< 50 ms + warm", users,
		"%.1f ms", milliseconds(median(second)))
}

// hang returns by how much a scrape exceeds its deadline, and how long the next one takes.
func (b *bench) hang(users int) (past, next time.Duration) {
	const interval, timeout, deadline = time.Second, 2 * time.Second, 1500 * time.Millisecond
	s := b.newExporter(b.api.config(users, interval), storage{})
	defer s.close()
	b.scrape(s, users, longTimeout)
	b.setHang(true)
	defer b.setHang(false)
	time.Sleep(interval)
	return b.scrape(s, users, timeout) - deadline, b.scrape(s, users, timeout)
}
