//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// prometheus is a running Prometheus server that scrapes a target every second.
type prometheus struct {
	*exportertest.Process
	url string
}

// startPrometheus starts a Prometheus with a job for each of the settings, which
// are a target's further keys in YAML's flow style; without any, with one plain
// job.
func startPrometheus(t *testing.T, target string, settings ...string) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	if len(settings) == 0 {
		settings = []string{""}
	}
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for i, further := range settings {
		text += fmt.Sprintf("  - {job_name: job-%d, static_configs: [{targets: ['%s']}], %s}\n", i, target, further)
	}
	file := exportertest.WriteFile(t, "prometheus.yml", text)
	p := exportertest.Start(t, exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(filepath.Dir(file), "data"),
		"--web.listen-address=127.0.0.1:0"))
	address := p.Await(`msg="Listening on" address=(\S+)`)
	p.Await(`(Server is ready to receive web requests)`)
	return &prometheus{Process: p, url: "http://" + address}
}

// query returns the value of the only sample that an expression gives, and
// whether there is one.
func (p *prometheus) query(expression string) (float64, bool) {
	p.T.Helper()
	var answer struct {
		Status string
		Data   struct{ Result []struct{ Value [2]any } }
	}
	body := exportertest.Get(p.T, http.DefaultClient, p.url+"/api/v1/query?query="+url.QueryEscape(expression))
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" || len(answer.Data.Result) > 1 {
		p.T.Fatalf("%s: got %s, %v", expression, body, err)
	}
	if len(answer.Data.Result) == 0 {
		return 0, false
	}
	value, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	if err != nil {
		p.T.Fatal(err)
	}
	return value, true
}

// expect waits until an expression has the wanted value.
func (p *prometheus) expect(expression string, want float64) {
	p.T.Helper()
	var got float64
	var ok bool
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got, ok = p.query(expression); ok && got == want {
			return
		}
	}
	p.T.Errorf("%s: got %v (%v), want %v", expression, got, ok, want)
}

// TestPrometheus is the main job on real input: Prometheus scrapes the binary,
// which calls the stand-in API.
func TestPrometheus(t *testing.T) {
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(472747194, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	api.Set(3, justoneapitest.Hang())
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", max_requests_per_second: 50}\n"+
		"quota: {min_interval: 5s}\nusers: [{wmid: 472747194, name: 碧诗}, 2, 3]\n")
	_, address := exportertest.StartExporter(t, "--config.file="+file)
	p := startPrometheus(t, address)

	p.expect(`bilibili_followers{wmid="472747194"}`, 4153991)
	p.expect(`bilibili_following{wmid="472747194"}`, 11)
	p.expect(`bilibili_up{wmid="472747194"}`, 1)
	p.expect(`bilibili_up{wmid="2"}`, 0) // there is no such user
	p.expect(`bilibili_last_error_info{wmid="2", code="-404"}`, 1)
	p.expect(`bilibili_followers * on (wmid) group_left (name) bilibili_user_info{name="碧诗"}`, 4153991)
	p.expect(`bilibili_api_requests_in_flight`, 1) // user 3 hangs, and costs nobody a scrape:
	time.Sleep(10 * time.Second)
	p.expect(`min_over_time(up[10s])`, 1)
	p.expect(`max_over_time(scrape_duration_seconds[10s]) < bool 0.9`, 1)

	// The requests that the exporter counts are those that the API has had.
	for range 50 {
		before := api.Total().Requests
		counted, _ := p.query(`bilibili_api_requests_total`)
		if got := api.Total().Requests; got == before && int(counted) == got {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("the API has had %d requests, and Prometheus does not say so", api.Total().Requests)
}

// TestDemo lets Prometheus scrape the demo for a while: the creator who loses
// followers after a minute does, and the sums agree.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-o", demo, "./examples/demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := exportertest.Start(t, exec.Command(demo, "-web.listen-address=127.0.0.1:0"))
	address := d.Await(`bilibili_exporter runs at http://(\S+),`)
	p := startPrometheus(t, address)

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
	b.follow(chromedp.Navigate("http://" + address + "/"))
	b.expect("Partly working: 1 of 8 users failing", "午夜拉面 Midnight Ramen", "-404: Bilibili: no such user")
	b.shoot("demo")
	b.expectQuiet(address)

	// Hold Prometheus back while the demo ends, so that it misses no scrape.
	p.Signal(syscall.SIGSTOP)
	time.Sleep(300 * time.Millisecond) // a scrape that runs is answered
	status, _ := d.End(syscall.SIGINT)
	p.Signal(syscall.SIGCONT)
	if status != 0 {
		t.Errorf("the demo ended with status %d", status)
	}
	var requests, billed float64
	last := d.Await(`(The stand-in API had .* of them)`)
	if _, err := fmt.Sscanf(last, "The stand-in API had %f requests and would have billed %f of them", &requests, &billed); err != nil {
		t.Fatalf("%s: %v", last, err)
	}
	p.expect(`last_over_time(bilibili_api_requests_total[1m])`, requests)
	p.expect(`last_over_time(bilibili_api_billed_requests_total[1m])`, billed)
}
