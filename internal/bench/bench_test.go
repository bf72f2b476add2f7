//go:build bench

// Package bench measures the time and memory that the exporter takes, next to the minimum for the same series.
package bench

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

var (
	userCounts = flag.String("users", "10,1000,10000", "numbers of users")
	rounds     = flag.Int("rounds", 15, "number of measurements of each scrape; a third of it for startups and refreshes")
)

// TestMain serves the stand-in for the API in the process that startAPI starts.
func TestMain(m *testing.M) {
	flag.Parse()
	if *serveOnly {
		fmt.Fprintln(os.Stderr, serveAPI())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestBench prints a table of the measurements. It fails if something does not work, but not if it is slow, because
// machines differ and are shared.
func TestBench(t *testing.T) {
	bench := &bench{
		t: t, rounds: *rounds, api: startAPI(t), database: pgtest.Start(t), previous: make(map[string]float64),
	}
	t.Setenv("PGPASSWORD", pgtest.Password)
	for field := range strings.SplitSeq(*userCounts, ",") {
		users, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		bench.table.users = append(bench.table.users, users)
		bench.measureScrapes(users)
		bench.measureState(users)
		bench.measureRefreshes(users)
		bench.measureStandby(users)
		bench.measureHangs(users)
		bench.measureProcesses(users)
	}
	bench.measureBinary()
	bench.table.print(os.Stdout)
}

// bench collects the measurements in its table.
type bench struct {
	t        *testing.T
	rounds   int
	api      instantAPI
	table    table
	database *pgtest.Server
	body     bytes.Buffer       // of the last response
	previous map[string]float64 // measurements with the previous, smaller number of users
}

// table has one column per number of users.
type table struct {
	users []int
	rows  []*row
}

type row struct {
	name, target string
	cells        map[int]string
}

// set sets a cell.
func (t *table) set(name, target string, users int, format string, args ...any) {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{name, target, make(map[int]string)})
	}
	t.rows[i].cells[users] = fmt.Sprintf(format, args...)
}

func (t *table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "users")
	for _, users := range t.users {
		fmt.Fprintf(out, "\t%d", users)
	}
	fmt.Fprint(out, "\ttarget (most users)\n")
	for _, row := range t.rows {
		fmt.Fprint(out, row.name)
		for _, users := range t.users {
			fmt.Fprintf(out, "\t%s", row.cells[users])
		}
		fmt.Fprintf(out, "\t%s\n", row.target)
	}
	out.Flush() //nolint:errcheck // nothing can be done about it
}

// slowRounds returns the number of measurements of what takes long.
func (b *bench) slowRounds() int { return max(1, b.rounds/3) }

// median returns the median of some measurements.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

func measure(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// measureBinary measures the size of the released binary.
func (b *bench) measureBinary() {
	info, err := os.Stat(binary)
	if err != nil {
		b.t.Fatal(err)
	}
	b.table.set("stripped binary", "≤ 22 MB", b.table.users[0], "%.1f MB", float64(info.Size())/1e6)
}

// get sends a scraper's request and returns the body without decompressing it. The next call overwrites it, because
// memory for a large body takes longer than a scrape.
func (b *bench) get(url, encoding string, timeout time.Duration) []byte {
	b.t.Helper()
	b.body.Reset()
	b.read(&b.body, url, encoding, timeout)
	return b.body.Bytes()
}

// read sends a scraper's request and writes the body to w without decompressing it.
func (b *bench) read(w io.Writer, url, encoding string, timeout time.Duration) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", encoding)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("got status %d, error %v", resp.StatusCode, err)
	}
}
