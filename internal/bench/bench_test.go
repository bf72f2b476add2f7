//go:build bench

// Package bench measures what the exporter takes, beside what it could take.
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

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

var (
	userCounts = flag.String("users", "10,1000,10000", "numbers of users to measure with")
	rounds     = flag.Int("rounds", 15, "how often each scrape is measured; a start, and a refresh, a third of that")
)

// TestMain can be the stand-in for the API, for TestBench.
func TestMain(m *testing.M) {
	flag.Parse()
	if *beAPI != "" {
		fmt.Fprintln(os.Stderr, serveAPI(*beAPI))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestBench prints a table of what the exporter takes. It fails when something
// does not work, and never because it is slow: machines differ, and are shared.
func TestBench(t *testing.T) {
	bench := &bench{t: t, rounds: *rounds, api: startAPI(t)}
	for field := range strings.SplitSeq(*userCounts, ",") {
		users, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		bench.table.users = append(bench.table.users, users)
		bench.scrapes(users)
		bench.refreshes(users)
		bench.hangs(users)
		bench.processes(users)
	}
	bench.once()
	bench.table.print(os.Stdout)
}

// bench measures, and notes what it has measured in its table.
type bench struct {
	t      *testing.T
	rounds int
	api    instantAPI
	table  table
	former struct{ took, heap float64 } // with fewer users
}

// table has a column for each number of users.
type table struct {
	users []int
	rows  []*row
}

type row struct {
	name, target string
	cells        map[int]string
}

// set notes a figure.
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
	out.Flush() //nolint:errcheck // a test has nowhere else to write to
}

// rarely returns how often to measure what takes long.
func (b *bench) rarely() int { return max(1, b.rounds/3) }

// median returns the median of some measurements.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

func timeOf(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// once notes what does not depend on the number of users.
func (b *bench) once() {
	users := b.table.users[0]
	info, err := os.Stat(binary)
	if err != nil {
		b.t.Fatal(err)
	}
	b.table.set("binary, stripped", "≤ 20 MB", users, "%.1f MB", float64(info.Size())/1e6)
	body := fmt.Appendf(nil, answer, "1", 11, 4153991)
	decode := testing.Benchmark(func(t *testing.B) {
		for t.Loop() {
			if _, err := justoneapi.Decode(http.StatusOK, body, 1); err != nil {
				t.Fatal(err)
			}
		}
	})
	b.table.set("decoding an answer", "", users, "%d ns", decode.NsPerOp())
	b.table.set("decoding an answer: allocations", "", users, "%d", decode.AllocsPerOp())
}

// setHang makes the API hang, or not.
func (b *bench) setHang(hang bool) {
	b.get(string(b.api)+"/hang?"+strconv.FormatBool(hang), "identity", patient)
}

// calls returns how many calls have come to the API.
func (b *bench) calls() string { return string(b.get(string(b.api)+"/calls", "identity", patient)) }

// get asks as a scraper does, and returns the body as it came.
func (b *bench) get(url, encoding string, timeout time.Duration) []byte {
	b.t.Helper()
	var body bytes.Buffer
	b.read(&body, url, encoding, timeout)
	return body.Bytes()
}

// read asks as a scraper does, and writes the body as it came.
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
