//go:build dashboards

package grafana

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var program = flag.String("prometheus", "prometheus", "Prometheus to test with")

var data = flag.String("data", "", "existing directory for the data, to use it again in the next run")

// TestBench measures all queries of the dashboards with 1,000 creators and a week of scrapes every minute. A query may
// take 2 s, in time and in CPU time. The best of three runs counts, or of ten if it is too slow: the blocks are in the
// page cache then, and other programs have delayed it least.
func TestBench(t *testing.T) {
	const allowed = 2.0
	dir := cmp.Or(*data, t.TempDir())
	if found, err := os.ReadDir(dir); err != nil {
		t.Fatal(err)
	} else if len(found) == 0 {
		loadWeek(t, dir)
	}
	p := start(t, *program, dir)
	for _, q := range queries(t, "2") {
		took, used := math.Inf(1), math.Inf(1)
		for run := 0; run < 3 || run < 10 && took > allowed; run++ {
			begin, before := time.Now(), p.cpu()
			p.query(q, week)
			took, used = min(took, time.Since(begin).Seconds()), min(used, p.cpu()-before)
		}
		t.Logf("%6.2f s, %6.2f s of CPU time: %s", took, used, q)
		if max(took, used) > allowed {
			t.Errorf("%s takes %.2f s, and %.2f s of CPU time", q, took, used)
		}
	}
}

// cpu returns the CPU time of the server in seconds.
func (s *server) cpu() float64 {
	s.t.Helper()
	match := regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)$`).FindStringSubmatch(
		exportertest.Get(s.t, http.DefaultClient, s.url+"/metrics"))
	seconds, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return seconds
}

func loadWeek(t *testing.T, dir string) {
	t.Helper()
	for day := end.Add(-week); day.Before(end); day = day.Add(24 * time.Hour) {
		begin := time.Now()
		h := history{creators: 1000, instances: 1, start: day, until: day.Add(24 * time.Hour), interval: time.Minute}
		file := h.file(t)
		load(t, dir, file)
		if err := os.Remove(file); err != nil { // it is large
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stderr, "loaded the day from %s in %v\n", day.Format(time.RFC3339), time.Since(begin))
	}
}
