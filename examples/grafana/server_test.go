//go:build e2e || dashboards

package grafana

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// server is a running server with the query API of Prometheus.
type server struct {
	t   *testing.T
	url string
}

// load adds a file with a history to the data directory of a Prometheus server that is not running.
func load(t *testing.T, dir, file string) {
	t.Helper()
	out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=162h",
		file, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v (make e2e installs promtool)\n%s", err, out)
	}
}

// start starts a Prometheus server with a data directory. It scrapes nothing.
func start(t *testing.T, program, dir string) *server {
	t.Helper()
	p := exportertest.Start(t, exec.Command(program, "--web.listen-address=127.0.0.1:0", "--storage.tsdb.path="+dir,
		"--storage.tsdb.retention.time=100y", "--config.file="+exportertest.WriteFile(t, "prometheus.yml", "")))
	address := p.Address()
	p.Await(`(Server is ready to receive web requests)`)
	return &server{t, "http://" + address}
}

// point is a value of a series.
type point struct {
	at    time.Time
	value float64
}

func (p *point) UnmarshalJSON(text []byte) error {
	var seconds float64
	var number string
	if err := json.Unmarshal(text, &[]any{&seconds, &number}); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(number, 64)
	*p = point{time.Unix(int64(seconds), 0), value}
	return err
}

// series is a series of a result.
type series struct {
	labels string
	points []point
}

func (s series) last() point { return s.points[len(s.points)-1] }

// query runs a query as Grafana does, over a time range that ends at the end of the history.
func (s *server) query(q query, over time.Duration) []series {
	s.t.Helper()
	parameters := url.Values{"query": {q.expr}, "time": {stamp(end)}}
	path := "/api/v1/query"
	if !q.instant {
		path = "/api/v1/query_range"
		step := int64(q.step.Seconds())
		aligned := time.Unix(end.Unix()/step*step, 0) // as Grafana does
		parameters = url.Values{"query": {q.expr}, "start": {stamp(aligned.Add(-over))}, "end": {stamp(aligned)},
			"step": {strconv.FormatInt(step, 10)}}
	}
	var response struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  *point
				Values []point
			}
		}
	}
	body := exportertest.Get(s.t, http.DefaultClient, s.url+path+"?"+parameters.Encode())
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		s.t.Fatalf("%s: %v", q, err)
	}
	var all []series
	for _, result := range response.Data.Result {
		if result.Value != nil {
			result.Values = []point{*result.Value}
		}
		var labels []string
		for name, text := range result.Metric {
			labels = append(labels, name+"="+text)
		}
		slices.Sort(labels)
		all = append(all, series{strings.Join(labels, ","), result.Values})
	}
	slices.SortFunc(all, func(a, b series) int { return strings.Compare(a.labels, b.labels) })
	return all
}

func stamp(t time.Time) string { return fmt.Sprint(t.Unix()) }
