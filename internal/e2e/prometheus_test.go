//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// startServer starts an installed program on a free port and returns its address.
func startServer(t *testing.T, program string, args ...string) (*exportertest.Process, string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	p := exportertest.Start(t, exec.Command(path, append(args, "--web.listen-address=127.0.0.1:0")...))
	return p, p.Address()
}

// prometheus is a running Prometheus server.
type prometheus struct {
	*exportertest.Process
	url string
}

// startPrometheus starts a Prometheus server with a configuration file.
func startPrometheus(t *testing.T, file string, args ...string) *prometheus {
	t.Helper()
	args = append(args, "--config.file="+file, "--storage.tsdb.path="+t.TempDir())
	p, address := startServer(t, "prometheus", args...)
	p.Await(`(Server is ready to receive web requests)`)
	return &prometheus{Process: p, url: "http://" + address}
}

// scrapeWithPrometheus starts a Prometheus server that scrapes a target every second. It has one job for each of the
// settings, which are further keys of a job in YAML's flow style.
func scrapeWithPrometheus(t *testing.T, target string, settings ...string) *prometheus {
	t.Helper()
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for i, keys := range settings {
		text += fmt.Sprintf("  - {job_name: job-%d, static_configs: [{targets: ['%s']}], %s}\n", i, target, keys)
	}
	return startPrometheus(t, exportertest.WriteFile(t, "prometheus.yml", text))
}

// query returns the values that an expression yields, one per series.
func (p *prometheus) query(expression string) (values []float64) {
	p.T.Helper()
	var response struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	body := exportertest.Get(p.T, http.DefaultClient, p.url+"/api/v1/query?query="+url.QueryEscape(expression))
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		p.T.Fatalf("%s: %v in %s", expression, err, body)
	}
	for _, result := range response.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(result.Value[1]), 64)
		if err != nil {
			p.T.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}

// expect waits until an expression yields one series with the value.
func (p *prometheus) expect(expression string, want float64) {
	p.T.Helper()
	var got []float64
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got = p.query(expression); len(got) == 1 && got[0] == want {
			return
		}
	}
	p.T.Errorf("%s: got %v, want %v", expression, got, want)
}

// TestPrometheus tests the main job: Prometheus scrapes the binary, which sends requests to the stand-in for the API.
func TestPrometheus(t *testing.T) {
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(472747194, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	api.Set(3, justoneapitest.Hang())
	file := exportertest.WriteFile(t, "b.yml",
		"api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", max_requests_per_second: 50}\n"+
			"quota: {min_interval: 5s}\nusers: [{wmid: 472747194, name: 碧诗}, 2, 3]\n")
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	p := scrapeWithPrometheus(t, address, "")

	p.expect(`bilibili_followers{wmid="472747194"}`, 4153991)
	p.expect(`bilibili_following{wmid="472747194"}`, 11)
	p.expect(`bilibili_up{wmid="472747194"}`, 1)
	p.expect(`bilibili_up{wmid="2"}`, 0) // there is no such user
	p.expect(`bilibili_last_error_info{wmid="2", code="-404"}`, 1)
	p.expect(`bilibili_followers * on (wmid) group_left (name) bilibili_user_info{name="碧诗"}`, 4153991)
	p.expect(`bilibili_api_requests_in_flight`, 1) // user 3 hangs, and no scrape waits for it:
	time.Sleep(10 * time.Second)
	p.expect(`min_over_time(up[10s])`, 1)
	p.expect(`max_over_time(scrape_duration_seconds[10s]) < bool 0.9`, 1)

	// The exporter counts the requests that the API has received.
	var counted []float64
	for range 50 {
		before := api.Total().Requests
		counted = p.query(`bilibili_api_requests_total`)
		if got := api.Total().Requests; got == before && len(counted) == 1 && int(counted[0]) == got {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("the API has received %d requests, the exporter counts %v", api.Total().Requests, counted)
}

// TestDemo lets Prometheus scrape the demo for more than a minute, after which one creator loses followers. At the end,
// the exporter has counted the same requests as the API.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-o", demo, "./examples/demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := exportertest.Start(t, exec.Command(demo, "-web.listen-address=127.0.0.1:0"))
	address := d.Await(`bilibili_exporter runs at http://(\S+),`)
	p := scrapeWithPrometheus(t, address, "")

	p.expect(`up`, 1)
	p.expect(`count(bilibili_followers)`, 7)
	p.expect(`count(bilibili_user_info)`, 8)
	p.expect(`bilibili_followers{wmid="100006"}`, 12)
	p.expect(`bilibili_followers{wmid="100001"} > bool 4e6`, 1)
	p.expect(`bilibili_up{wmid="100007"}`, 0)
	p.expect(`upstream_error_code{code="-404"} > bool 0`, 1)
	time.Sleep(time.Minute)
	p.expect(`max_over_time(bilibili_followers{wmid="100005"}[2m]) - bilibili_followers{wmid="100005"} > bool 80000`, 1)
	p.expect(`min_over_time(up[30s])`, 1)

	b := startBrowser(t)
	b.navigate(chromedp.Navigate("http://" + address + "/"))
	b.expect("Working, 1 of 8 users unavailable", "午夜拉面 Midnight Ramen", "-404: Bilibili: no such user")
	b.screenshot("demo")
	b.expectNoProblems(address)

	p.awaitPause(`bilibili_api_requests_total`)
	p.Signal(syscall.SIGSTOP)          // so that no scrape of the demo fails
	time.Sleep(300 * time.Millisecond) // for a scrape in progress
	status, _ := d.End(syscall.SIGINT)
	p.Signal(syscall.SIGCONT)
	if status != 0 {
		t.Errorf("the demo exited with status %d", status)
	}
	var requests, billed float64
	summary := d.Await(`(The stand-in API had .* of them)`)
	const format = "The stand-in API had %f requests and would have billed %f of them"
	if _, err := fmt.Sscanf(summary, format, &requests, &billed); err != nil {
		t.Fatalf("%s: %v", summary, err)
	}
	p.expect(`last_over_time(bilibili_api_requests_total[1m])`, requests)
	p.expect(`last_over_time(bilibili_api_billed_requests_total[1m])`, billed)
}

// awaitPause waits until a counter of requests has grown and then stopped to grow, because no user is due for a while.
func (p *prometheus) awaitPause(counter string) {
	p.T.Helper()
	before := p.query(counter)
	var grown time.Time
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if now := p.query(counter); !slices.Equal(now, before) {
			before, grown = now, time.Now()
		} else if !grown.IsZero() && time.Since(grown) > 1500*time.Millisecond {
			return
		}
	}
	p.T.Fatalf("%s does not pause", counter)
}
