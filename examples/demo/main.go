// Command demo runs the exporter without a token or a network connection. It uses a stand-in for Just One API with
// eight made-up creators.
//
//	go run ./examples/demo
//
// The first start compiles it, which takes a minute or more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
	interval = "5s"    // between two requests for a creator
	limit    = 150_000 // requests per day, enough not to stretch the interval
	latency  = 100 * time.Millisecond
	dropAt   = time.Minute // after startup
)

// creator is a made-up Bilibili user.
type creator struct {
	wmid     int64
	name     string
	agency   string // a label
	response justoneapitest.Response
}

// newCreators returns all creators, with their followers changing from now on.
func newCreators(now time.Time) []creator {
	growing := func(followers int64, perHour float64) justoneapitest.Series {
		return justoneapitest.Noise(justoneapitest.Growth(followers, now, perHour), followers/100_000)
	}
	stat := func(followers justoneapitest.Series, following int64) justoneapitest.Response {
		return justoneapitest.Latency(latency, justoneapitest.Stat(followers, following))
	}
	dropping := justoneapitest.Drop(growing(1_204_870, 0), now.Add(dropAt), 84_000)
	missing := justoneapitest.Latency(latency, justoneapitest.BilibiliCode(-404, "啥都木有"))
	return []creator{
		{100001, "午夜拉面 Midnight Ramen", "night", stat(growing(4_153_991, 1200), 11)},
		{100002, "像素猫 Pixel Cat", "pixel", stat(growing(982_340, 5400), 214)},
		{100003, "老王修车 Wang Fixes Cars", "night", stat(growing(327_118, 90), 38)},
		{100004, "深海电台 Deep Sea Radio", "deep", stat(growing(58_402, 30), 402)},
		{100005, "不停电 Never Off", "pixel", stat(dropping, 77)},
		{100006, "小树读诗 Sapling Reads", "deep", stat(justoneapitest.Constant(12), 3)},
		{100007, "失踪人口 Gone Missing", "night", missing},
		{3546564939877816, "十六位 Sixteen Digits", "deep", stat(growing(7_733, 600), 1)},
	}
}

// configuration returns the exporter's configuration for the creators.
func configuration(apiURL string, creators []creator) string {
	var b strings.Builder
	fmt.Fprintf(&b, "api:\n  base_url: %s\n  token: %s\n", apiURL, justoneapitest.Token)
	fmt.Fprintf(&b, "quota:\n  min_interval: %s\n  daily_limit: %d\n", interval, limit)
	b.WriteString("users:\n")
	for _, c := range creators {
		fmt.Fprintf(&b, "  - wmid: %d\n    name: %q\n    labels: {agency: %s}\n", c.wmid, c.name, c.agency)
	}
	return b.String()
}

func main() {
	address := flag.String("web.listen-address", "127.0.0.1:12233", "Address of metrics and status page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP) // there is nothing to reload
	if err := run(ctx, *address, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run runs the exporter and the API until the context is canceled.
func run(ctx context.Context, address string, output, logs io.Writer) error {
	api := justoneapitest.NewServer()
	defer api.Close()
	creators := newCreators(time.Now())
	for _, c := range creators {
		api.Set(c.wmid, c.response)
	}
	cfg, err := config.Parse("demo.yml", strings.NewReader(configuration(api.URL, creators)))
	if err != nil {
		return err
	}
	server.FillVersion()
	logger := level.NewFilter(log.NewLogfmtLogger(log.NewSyncWriter(logs)), level.AllowInfo())
	logger = log.With(logger, "ts", log.DefaultTimestampUTC)
	exporter, err := server.New(cfg, server.Options{
		Logger: logger, TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond, Demo: true,
	})
	if err != nil {
		return err
	}
	defer exporter.Close(context.Background()) // without a timeout, because in-flight requests take 100 ms

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w: use another address with -web.listen-address", err)
	}
	printHelp(output, listener.Addr(), api.URL)
	server := &http.Server{Handler: exporter, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close() //nolint:errcheck // the process exits
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	total := api.Total()
	fmt.Fprintf(output, "\nThe stand-in API had %d requests and would have billed %d of them.\n",
		total.Requests, total.Billed)
	return nil
}

func printHelp(output io.Writer, address net.Addr, apiURL string) {
	fmt.Fprintf(output, `bilibili_exporter runs at http://%[1]s, with a stand-in for Just One API at %[2]s.
There are eight made-up creators with a minimum interval of %[3]s.

  http://%[1]s/          status page
  http://%[1]s/metrics   metrics; every reload is a scrape

Some metrics to look at:

  bilibili_followers{wmid="100001"}               grows
  bilibili_followers{wmid="100005"}               drops by 84,000 one minute after startup
  bilibili_up{wmid="100007"}                      is 0, since the user does not exist
  bilibili_user_interval_seconds{wmid="100007"}   doubles with every failure
  upstream_error_code{code="-404"}                counts these failures

Press Ctrl-C to stop.
`, address, apiURL, interval)
}
