// Command bilibili_exporter exposes follower counts of Bilibili users to
// Prometheus. It asks Just One API for them, a paid service, when it is
// scraped, and as rarely as configured.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
)

const (
	program = "bilibili_exporter"

	// drainTimeout is how long a shutdown waits for calls that run: they may
	// be billed, so their answers are worth waiting for.
	drainTimeout = 25 * time.Second
	// hangUpTimeout is how long it then waits for scrapes to be answered.
	hangUpTimeout = 2 * time.Second
)

// flags is the command line.
type flags struct {
	configFile    string
	configFileSet bool
	configCheck   bool
	wmids         []string
	storagePath   string
	telemetryPath string
	timeoutOffset string
	maxRequests   string
	lifecycle     bool
	noMetrics     bool
	logLevel      string
	logFormat     string
	web           *web.FlagConfig
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP) // first of all: who asks for a reload must not end the process
	server.FillVersion()
	flags, err := parseFlags(args, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; try --help\n", program, err)
		return 1
	}
	stdlog.SetOutput(io.Discard)   // net/http quotes there what servers send, perhaps the token
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads ends no paid call
	base, logger := newLoggers(stderr, flags.logLevel, flags.logFormat)
	if err := serve(flags, hangUps, base, logger); err != nil {
		level.Error(logger).Log("msg", "Giving up", "err", err)
		return 1
	}
	return 0
}

func parseFlags(args []string, stdout io.Writer) (*flags, error) {
	f := &flags{}
	app := kingpin.New(program, "Exposes follower counts of Bilibili users to Prometheus.")
	app.UsageWriter(stdout)
	app.HelpFlag.Short('h')
	app.Version(version.Print(program))
	app.Flag("config.file", "Configuration file.").Default("bilibili_exporter.yml").IsSetByUser(&f.configFileSet).StringVar(&f.configFile)
	app.Flag("config.check", "Check the configuration and exit: status 0 if it is good, 1 if not. Calls nobody.").BoolVar(&f.configCheck)
	app.Flag("wmid", "Bilibili user to watch, in place of a configuration file: the number in https://space.bilibili.com/<wmid>. Repeatable. The token comes from $"+config.TokenVariable+".").StringsVar(&f.wmids)
	app.Flag("storage.path", "Folder that keeps what is known across restarts: values, the day's use, pauses. Made if missing. Empty keeps nothing.").Default("data/").StringVar(&f.storagePath)
	app.Flag("timeout-offset", "Seconds to take off the scrape timeout that Prometheus tells.").Default("0.5").StringVar(&f.timeoutOffset)
	app.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&f.telemetryPath)
	app.Flag("web.max-requests", "Scrapes that are answered at a time, and as many requests for the other pages; more get status 503. 0 is no limit.").Default("40").StringVar(&f.maxRequests)
	app.Flag("web.enable-lifecycle", "Reload the configuration on POST /-/reload, as SIGHUP does.").BoolVar(&f.lifecycle)
	app.Flag("web.disable-exporter-metrics", "Leave out the metrics of the exporter itself (go_*, process_*, promhttp_*).").BoolVar(&f.noMetrics)
	f.web = kingpinflag.AddFlags(app, ":12233")
	app.Flag("log.level", "Only log messages of this severity or above: debug, info, warn, error.").Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of log messages: logfmt, json.").Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
	if _, err := app.Parse(args); err != nil {
		return nil, err
	}
	if f.configFileSet && len(f.wmids) > 0 {
		return nil, errors.New("--wmid and --config.file exclude each other: list the users in the file")
	}
	return f, nil
}

// options returns the exporter's options, and errors that name the flag.
func (f *flags) options(logger log.Logger) (server.Options, error) {
	options := server.Options{
		Logger: logger, TelemetryPath: f.telemetryPath, DisableExporterMetrics: f.noMetrics, StoragePath: f.storagePath,
		EnableLifecycle: f.lifecycle, Load: f.load,
	}
	offset, err := strconv.ParseFloat(f.timeoutOffset, 64)
	if err != nil || !(offset >= 0 && offset <= 3600) {
		return options, fmt.Errorf("--timeout-offset: want seconds from 0 to 3600, got %q", f.timeoutOffset)
	}
	options.TimeoutOffset = time.Duration(offset * float64(time.Second))
	options.MaxRequests, err = strconv.Atoi(f.maxRequests)
	if err != nil || options.MaxRequests < 0 {
		return options, fmt.Errorf("--web.max-requests: want a whole number of at least 0, got %q", f.maxRequests)
	}
	return options, nil
}

// load returns the configuration that the command line asks for, if that of
// the web server, which is read anew for every connection, is good as well.
func (f *flags) load() (*config.Config, error) {
	if err := web.Validate(*f.web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file: %s: %s", *f.web.WebConfigFile, strings.Join(strings.Fields(err.Error()), " "))
	}
	if len(f.wmids) > 0 {
		return config.FromWMIDs(f.wmids)
	}
	cfg, err := config.Load(f.configFile)
	if errors.Is(err, os.ErrNotExist) && !f.configFileSet {
		return nil, fmt.Errorf("%w: write one, see examples/bilibili_exporter.yml, or name users with --wmid", err)
	}
	return cfg, err
}

// serve runs the exporter until a signal ends it.
func serve(f *flags, hangUps <-chan os.Signal, base, logger log.Logger) error {
	options, err := f.options(logger)
	if err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if f.configCheck {
		options.StoragePath = "" // an exporter that runs may be using it
		options.Logger = log.NewNopLogger()
	}
	exp, err := server.New(cfg, options)
	if err != nil {
		return err
	}
	server.LogCost(cfg, logger)
	if f.configCheck {
		level.Info(logger).Log("msg", "The configuration is good")
		return nil
	}
	level.Info(logger).Log("msg", "Starting "+program, "version", version.Info(), "build_context", version.BuildContext())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go reload(ctx, exp, hangUps)
	server := &http.Server{
		Handler:           exp,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          newServerLog(logger),
	}
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe(server, f.web, newSlog(base)) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		level.Info(logger).Log("msg", "Shutting down: waiting for running calls, whose answers may be billed", "at_most", drainTimeout)
	}
	stop() // a second signal ends the process at once
	shutDown(exp, server)
	return err
}

// reload reloads the configuration at every signal, until ctx ends.
func reload(ctx context.Context, exp *server.Exporter, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			exp.Reload() //nolint:errcheck // it is logged
		case <-ctx.Done():
			return
		}
	}
}

// shutDown ends the exporter, which answers scrapes meanwhile, and then the server.
func shutDown(exp *server.Exporter, server *http.Server) {
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	exp.Close(drain)
	hangUp, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	if server.Shutdown(hangUp) != nil {
		server.Close() //nolint:errcheck // the process ends
	}
}
