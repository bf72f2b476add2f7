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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	dto "github.com/prometheus/client_model/go"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// startServer starts a program on a free port and returns its address.
func startServer(t *testing.T, program string, args ...string) (*exportertest.Process, string) {
	t.Helper()
	p := exportertest.Start(t, exec.Command(program, append(args, "--web.listen-address=127.0.0.1:0")...))
	return p, p.Address()
}

// The programs of Debian, which "make e2e" installs.
const (
	debianPrometheus   = "prometheus"
	debianAlertmanager = "prometheus-alertmanager"
)

// prometheus is a running Prometheus server, or another one with the same HTTP API.
type prometheus struct {
	*exportertest.Process
	url string
}

// startPrometheus starts a Prometheus server with a configuration file.
func startPrometheus(t *testing.T, program, file string, args ...string) *prometheus {
	t.Helper()
	args = append(args, "--config.file="+file, "--storage.tsdb.path="+t.TempDir())
	server, address := startServer(t, program, args...)
	p := &prometheus{Process: server, url: "http://" + address}
	p.awaitReady("/-/ready")
	return p
}

// awaitReady waits until a page returns 200.
func (p *prometheus) awaitReady(page string) {
	p.T.Helper()
	var status string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(p.url + page)
		if err != nil {
			p.T.Fatal(err)
		}
		resp.Body.Close()
		if status = resp.Status; resp.StatusCode == http.StatusOK {
			return
		}
	}
	p.T.Fatalf("%s is not ready: %s", p.url, status)
}

// scrapeConfig writes a configuration that scrapes a target every second. It has one job for each of the settings,
// which are further keys of a job in YAML's flow style.
func scrapeConfig(t *testing.T, target string, settings ...string) (path string) {
	t.Helper()
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for i, keys := range settings {
		text += fmt.Sprintf("  - {job_name: job-%d, static_configs: [{targets: ['%s']}], %s}\n", i, target, keys)
	}
	return exportertest.WriteFile(t, "prometheus.yml", text)
}

// scrapeWithPrometheus starts a Prometheus server that scrapes a target. See scrapeConfig.
func scrapeWithPrometheus(t *testing.T, target string, settings ...string) *prometheus {
	t.Helper()
	return startPrometheus(t, debianPrometheus, scrapeConfig(t, target, settings...))
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

// TestPrometheus tests the main job: Prometheus, or VictoriaMetrics, scrapes the binary, which sends requests to the
// stand-in for the API.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	types := exportertest.Exposition(t)
	test := func(program string, start func(t *testing.T, file string) *prometheus) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			testScrape(t, types, start)
		})
	}
	for _, program := range append([]string{debianPrometheus}, exportertest.Programs(t, "prometheus")...) {
		test(program, func(t *testing.T, file string) *prometheus {
			t.Helper()
			return startPrometheus(t, program, file)
		})
	}
	for _, program := range exportertest.Programs(t, "victoria-metrics") {
		test(program, func(t *testing.T, file string) *prometheus {
			t.Helper()
			return startVictoriaMetrics(t, program, "-promscrape.config="+file)
		})
	}
}

func testScrape(
	t *testing.T, types map[string]*dto.MetricFamily, start func(t *testing.T, file string) *prometheus,
) {
	t.Helper()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(472747194, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	api.Set(3, justoneapitest.Hang())
	file := exportertest.WriteFile(t, "b.yml",
		"api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", max_requests_per_second: 50}\n"+
			"quota: {min_interval: 5s}\nusers: [{wmid: 472747194, name: 碧诗}, 2, 3]\n")
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	p := start(t, scrapeConfig(t, address, ""))

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
	p.expectTypes(types)

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

// expectTypes checks that the server knows the types of all metrics of the exporter, as they are exposed.
func (p *prometheus) expectTypes(types map[string]*dto.MetricFamily) {
	p.T.Helper()
	var response struct {
		Data map[string][]struct{ Type string }
	}
	body := exportertest.Get(p.T, http.DefaultClient, p.url+"/api/v1/metadata")
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		p.T.Fatalf("%v in %s", err, body)
	}
	for name, metadata := range response.Data {
		if strings.HasPrefix(name, "scrape_") || name == "up" {
			continue
		}
		want := strings.ToLower(types[name].GetType().String())
		if len(metadata) != 1 || metadata[0].Type != want {
			p.T.Errorf("%s: got the types %v, want %s", name, metadata, want)
		}
	}
	for _, name := range []string{"bilibili_followers", "upstream_error_code", "bilibili_api_request_duration_seconds"} {
		if len(response.Data[name]) == 0 {
			p.T.Errorf("%s: no type", name)
		}
	}
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
