// Command demo shows the exporter without a token and without a network: it
// runs the real exporter against a stand-in for Just One API with eight made-up
// creators.
//
//	go run ./examples/demo
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

const (
	interval = "5s"    // between two calls for one creator
	limit    = 150_000 // calls in a day: enough not to stretch the interval
	dropAt   = time.Minute
)

// creator is a made-up Bilibili user.
type creator struct {
	wmid   int64
	name   string
	answer justoneapitest.Response
}

// creators returns the cast at the beginning of the play.
func creators(now time.Time) []creator {
	growing := func(followers int64, perHour float64) justoneapitest.Series {
		return justoneapitest.Noise(justoneapitest.Growth(followers, now, perHour), followers/100_000)
	}
	stat := func(followers justoneapitest.Series, following int64) justoneapitest.Response {
		return justoneapitest.Latency(100*time.Millisecond, justoneapitest.Stat(followers, following))
	}
	return []creator{
		{100001, "午夜拉面 Midnight Ramen", stat(growing(4_153_991, 1200), 11)},
		{100002, "像素猫 Pixel Cat", stat(growing(982_340, 5400), 214)},
		{100003, "老王修车 Wang Fixes Cars", stat(growing(327_118, 90), 38)},
		{100004, "深海电台 Deep Sea Radio", stat(growing(58_402, 30), 402)},
		{100005, "不停电 Never Off", stat(justoneapitest.Drop(growing(1_204_870, 0), now.Add(dropAt), 84_000), 77)},
		{100006, "小树读诗 Sapling Reads", stat(justoneapitest.Constant(12), 3)},
		{100007, "失踪人口 Gone Missing", justoneapitest.Latency(100*time.Millisecond, justoneapitest.BilibiliCode(-404, "啥都木有"))},
		{3546564939877816, "十六位 Sixteen Digits", stat(growing(7_733, 600), 1)},
	}
}

// configuration returns the exporter's configuration file for the cast.
func configuration(apiURL string, cast []creator) string {
	var b strings.Builder
	fmt.Fprintf(&b, "api:\n  base_url: %s\n  token: %s\nquota:\n  min_interval: %s\n  daily_limit: %d\nusers:\n", apiURL, justoneapitest.Token, interval, limit)
	for _, c := range cast {
		fmt.Fprintf(&b, "  - wmid: %d\n    name: %q\n", c.wmid, c.name)
	}
	return b.String()
}

func main() {
	address := flag.String("web.listen-address", "127.0.0.1:12233", "address of the exporter")
	flag.Parse()
	if err := run(*address); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	api := justoneapitest.NewServer()
	defer api.Close()
	cast := creators(time.Now())
	for _, c := range cast {
		api.Set(c.wmid, c.answer)
	}
	cfg, err := config.Parse("demo.yml", strings.NewReader(configuration(api.URL, cast)))
	if err != nil {
		return err
	}
	server.FillVersion()
	logger := level.NewFilter(log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)), level.AllowInfo())
	logger = log.With(logger, "ts", log.DefaultTimestampUTC)
	exp, err := server.New(cfg, server.Options{Logger: logger, TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	defer exp.Close(context.Background()) // its calls last a moment only

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -web.listen-address", err)
	}
	tell(listener.Addr(), api.URL)
	server := &http.Server{Handler: exp, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close() //nolint:errcheck // the process ends
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	total := api.Total()
	fmt.Printf("\nThe stand-in API had %d requests and would have billed %d of them.\n", total.Requests, total.Billed)
	return nil
}

func tell(address net.Addr, apiURL string) {
	fmt.Printf(`bilibili_exporter runs at http://%[1]s, against a stand-in for Just One API at %[2]s.
Eight made-up creators, asked about every %[3]s at most. Look at

  http://%[1]s/          is it working and, if not, why?
  http://%[1]s/metrics   what Prometheus scrapes; reload it

  bilibili_followers{wmid="100001"}           grows
  bilibili_followers{wmid="100005"}           loses 84,000 a minute from now
  bilibili_up{wmid="100007"}                  is 0: there is no such user
  bilibili_user_interval_seconds              … and its interval doubles with each failure
  upstream_error_code{code="-404"}            … which is counted

Ctrl-C ends it.
`, address, apiURL, interval)
}
