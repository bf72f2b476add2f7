// Command bilibili_exporter exposes follower counts of Bilibili users to Prometheus. It queries the paid Just One API
// on scrape, at most once per user and interval.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server"
	"github.com/bilibili-exporter/bilibili_exporter/internal/signals"
)

const (
	program = "bilibili_exporter"

	// shutdownTimeout is how long shutdown waits for the HTTP server, once there are no API requests in flight.
	shutdownTimeout = 2 * time.Second
	// freeMemoryDelay is how long after startup unused memory is returned to the system. The first response must not wait.
	freeMemoryDelay = 10 * time.Second
)

// flags is the command line.
type flags struct {
	configFile             string
	configFileSet          bool
	configCheck            bool
	autoReloadInterval     string
	loader                 *config.Loader // nil with wmids
	wmids                  []string
	storagePath            string
	storagePathSet         bool
	storageURL             string
	storageURLSet          bool
	storageNamespace       string
	storageNamespaceSet    bool
	telemetryPath          string
	timeoutOffset          string
	maxRequests            string
	enableLifecycle        bool
	grafanaURL             string
	disableExporterMetrics bool
	logLevel               string
	logFormat              string
	web                    *web.FlagConfig
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command and returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	server.FillVersion()
	flags, err := parseFlags(args, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; try --help\n", program, err)
		return 1
	}
	stdlog.SetOutput(io.Discard)   // net/http's client logs parts of unexpected responses, which may contain the token
	signal.Ignore(syscall.SIGPIPE) // a closed log pipe must not kill the process during a paid request
	base, logger := newLoggers(stderr, flags.logLevel, flags.logFormat)
	err = serve(flags, base, logger)
	if invalid, ok := errors.AsType[*config.Error](err); ok && flags.configCheck {
		fmt.Fprintln(stderr, strings.Join(invalid.Lines(), "\n"))
		return 1
	}
	if err != nil {
		level.Error(logger).Log("msg", "Error running exporter", "err", err)
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
	app.Flag("config.file", "Configuration file, in YAML.").Default("bilibili_exporter.yml").
		IsSetByUser(&f.configFileSet).StringVar(&f.configFile)
	app.Flag("config.check", "Validate the configuration and exit with status 0 if it is valid, else with status 1. "+
		"Makes no API requests.").BoolVar(&f.configCheck)
	app.Flag("config.auto-reload-interval", "Interval for checking the configuration and its user files, and reloading "+
		"them if they have changed; 0s disables it.").Default("0s").StringVar(&f.autoReloadInterval)
	app.Flag("wmid", "WMID of a Bilibili user, the number in https://space.bilibili.com/<wmid>; repeatable. "+
		"Replaces the configuration file; the token is read from $"+config.TokenVariable+".").StringsVar(&f.wmids)
	app.Flag("storage.path", "Directory for persistent state; created if missing; an empty value disables persistence.").
		Default("data/").IsSetByUser(&f.storagePathSet).StringVar(&f.storagePath)
	app.Flag("storage.url", "URL of a PostgreSQL database, such as postgres://user@host/database, for persistent state "+
		"that several replicas share; replaces --storage.path. The password can be in $PGPASSWORD, or in a file named by "+
		"$PGPASSFILE.").
		PlaceHolder("URL").IsSetByUser(&f.storageURLSet).StringVar(&f.storageURL)
	app.Flag("storage.namespace", "Name of the state of this token in the database of --storage.url, where each token "+
		"needs a name of its own.").Default("default").IsSetByUser(&f.storageNamespaceSet).StringVar(&f.storageNamespace)
	app.Flag("timeout-offset", "Offset to subtract from the scrape timeout, in seconds.").
		Default("0.5").StringVar(&f.timeoutOffset)
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default("/metrics").StringVar(&f.telemetryPath)
	app.Flag("web.max-requests", "Maximum number of concurrent scrapes, and of concurrent requests to other pages; "+
		"0 disables the limit.").Default("40").StringVar(&f.maxRequests)
	app.Flag("web.enable-lifecycle", "Enable reloading the configuration with POST /-/reload. SIGHUP always reloads it.").
		BoolVar(&f.enableLifecycle)
	app.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (go_*, process_*, promhttp_*).").
		BoolVar(&f.disableExporterMetrics)
	app.Flag("web.grafana-url", "URL of a Grafana with the dashboards in examples/grafana, for links on the status "+
		"page.").PlaceHolder("URL").StringVar(&f.grafanaURL)
	f.web = kingpinflag.AddFlags(app, ":12233")
	app.Flag("log.level", "Only log messages with the given severity or above: debug, info, warn, error.").
		Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of log messages: logfmt, json.").
		Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
	if _, err := app.Parse(args); err != nil {
		if strings.Contains(err.Error(), "://") { // a URL may contain a password
			err = errors.New("unexpected argument that looks like a URL")
		}
		return nil, err
	}
	if f.configFileSet && len(f.wmids) > 0 {
		return nil, errors.New("--wmid and --config.file are mutually exclusive")
	}
	switch {
	case f.storagePathSet && f.storageURLSet:
		return nil, errors.New("--storage.path and --storage.url are mutually exclusive")
	case f.storageURLSet && f.storageURL == "":
		return nil, errors.New("--storage.url is empty: want a URL, or no such flag for storage in --storage.path")
	case f.storageNamespaceSet && !f.storageURLSet:
		return nil, errors.New("--storage.namespace needs --storage.url: it is a name in that database")
	case strings.TrimSpace(f.storageNamespace) == "" || len(f.storageNamespace) > 200 ||
		!utf8.ValidString(f.storageNamespace):
		return nil, errors.New("--storage.namespace: want a name of at most 200 bytes")
	}
	if len(f.wmids) == 0 {
		f.loader = config.NewLoader(f.configFile)
	}
	return f, nil
}

// options returns the exporter's options. Errors name the flag.
func (f *flags) options(logger log.Logger) (server.Options, error) {
	options := server.Options{
		Logger: logger, TelemetryPath: f.telemetryPath, DisableExporterMetrics: f.disableExporterMetrics,
		StoragePath: f.storagePath, StorageURL: f.storageURL, StorageNamespace: f.storageNamespace,
		EnableLifecycle: f.enableLifecycle, GrafanaURL: f.grafanaURL,
	}
	if f.loader != nil || *f.web.WebConfigFile != "" {
		options.Load = f.load
	}
	offset, err := strconv.ParseFloat(f.timeoutOffset, 64)
	if err != nil || !(offset >= 0 && offset <= 3600) {
		return options, fmt.Errorf("--timeout-offset: want a number of seconds from 0 to 3600, got %q", f.timeoutOffset)
	}
	options.TimeoutOffset = time.Duration(offset * float64(time.Second))
	interval, err := model.ParseDuration(f.autoReloadInterval)
	switch {
	case err != nil:
		return options, fmt.Errorf("--config.auto-reload-interval: want a duration such as 30s, or 0s, got %q",
			f.autoReloadInterval)
	case interval > 0 && f.loader == nil:
		return options, errors.New("--wmid and --config.auto-reload-interval are mutually exclusive, " +
			"because no file is read")
	case interval > 0:
		options.AutoReloadInterval, options.Changed = time.Duration(interval), f.loader.Changed
	}
	options.MaxRequests, err = strconv.Atoi(f.maxRequests)
	if err != nil || options.MaxRequests < 0 {
		return options, fmt.Errorf("--web.max-requests: want an integer of at least 0, got %q", f.maxRequests)
	}
	return options, nil
}

// load returns the configuration. It also validates that of the web server, which is read again for every connection.
func (f *flags) load() (*config.Config, error) {
	if err := web.Validate(*f.web.WebConfigFile); err != nil {
		oneLine := strings.Join(strings.Fields(err.Error()), " ")
		return nil, fmt.Errorf("--web.config.file: %s: %s", *f.web.WebConfigFile, oneLine)
	}
	if len(f.wmids) > 0 {
		return config.FromWMIDs(f.wmids)
	}
	cfg, err := f.loader.Load()
	if errors.Is(err, os.ErrNotExist) && !f.configFileSet {
		return nil, fmt.Errorf("%w; see examples/bilibili_exporter.yml for an example, or use --wmid", err)
	}
	return cfg, err
}

// serve runs the exporter until a signal stops it.
func serve(f *flags, base, logger log.Logger) error {
	var exp *server.Exporter
	ready := make(chan error, 1)
	go func() {
		var err error
		exp, err = start(f, logger)
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil || f.configCheck {
			return err
		}
	case sig := <-signals.Stop:
		// Startup can take long. It may be interrupted, because the state on disk survives even SIGKILL.
		if f.configCheck {
			return fmt.Errorf("stopped by signal: %v", sig)
		}
		level.Info(logger).Log("msg", "Stopped", "signal", sig)
		return nil
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go reload(ctx, exp)
	httpServer := server.NewHTTPServer(exp, newServerLog(logger))
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe(httpServer, f.web, newSlog(base)) }()
	defer time.AfterFunc(freeMemoryDelay, debug.FreeOSMemory).Stop() // that loading has taken
	var err error
	select {
	case err = <-served:
	case sig := <-signals.Stop:
		level.Info(logger).Log("msg", "Shutting down", "signal", sig)
	}
	shutDown(exp, httpServer)
	level.Info(logger).Log("msg", "Stopped")
	if failure, ok := errors.AsType[*net.OpError](err); ok && failure.Op == "listen" {
		return fmt.Errorf("--web.listen-address: %w", err)
	}
	return err
}

// start returns an exporter with its state. For --config.check it only validates the configuration.
func start(f *flags, logger log.Logger) (*server.Exporter, error) {
	if !f.configCheck {
		level.Info(logger).Log("msg", "Starting "+program,
			"version", version.Info(), "build_context", version.BuildContext())
	}
	options, err := f.options(logger)
	if err != nil {
		return nil, err
	}
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	if f.configCheck {
		return nil, check(cfg, options)
	}
	exp, err := server.New(cfg, options)
	if err != nil {
		return nil, err
	}
	server.LogUsage(cfg, logger)
	return exp, nil
}

// check checks what the configuration and the options are used for, without opening the store, which a running exporter
// may use.
func check(cfg *config.Config, options server.Options) error {
	if err := server.Check(cfg, options); err != nil {
		return err
	}
	server.LogUsage(cfg, options.Logger)
	level.Info(options.Logger).Log("msg", "Configuration is valid")
	return nil
}

// reload reloads the configuration on every signal, and when it has changed, until ctx ends.
func reload(ctx context.Context, exp *server.Exporter) {
	changed, stop := exp.CheckTimes()
	defer stop()
	for {
		select {
		case <-signals.Reload:
			exp.Reload() //nolint:errcheck // Reload logs the error
		case <-changed:
			exp.ReloadIfChanged()
		case <-ctx.Done():
			return
		}
	}
}

// shutDown stops the exporter, which still serves scrapes meanwhile, and then the HTTP server. A second signal cuts
// both short.
func shutDown(exp *server.Exporter, httpServer *http.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-signals.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	exp.Close(ctx)
	shutdownCtx, cancelShutdown := context.WithTimeout(ctx, shutdownTimeout)
	defer cancelShutdown()
	if httpServer.Shutdown(shutdownCtx) != nil {
		httpServer.Close() //nolint:errcheck // the process exits
	}
}
