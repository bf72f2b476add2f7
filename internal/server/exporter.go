// Package server assembles the exporter. It builds the HTTP handler from a configuration.
package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/refresh"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

// FillVersion sets the version of a binary built without ldflags to the one that the Go toolchain recorded in it. A
// command calls it first.
func FillVersion() {
	if info, ok := debug.ReadBuildInfo(); ok && version.Version == "" {
		version.Version = info.Main.Version
	}
}

// Options are the settings that are not part of the configuration.
type Options struct {
	Logger                 log.Logger
	TelemetryPath          string        // path of the metrics, starting with a slash
	TimeoutOffset          time.Duration // subtracted from the scrape timeout; at least 0
	MaxRequests            int           // concurrent scrapes, and concurrent requests to other pages; 0 = no limit
	DisableExporterMetrics bool          // omit go_*, process_* and promhttp_*
	StoragePath            string        // directory for persistent state; empty disables persistence
	StorageURL             string        // of a database that replicas share; then StoragePath is not used
	StorageNamespace       string        // of the records in that database
	EnableLifecycle        bool          // whether POST /-/reload is enabled
	GrafanaURL             string        // of a Grafana with the dashboards, for links; empty if there is none
	Demo                   bool          // whether nothing is billed, because a stand-in takes the place of the API

	// Load reads the configuration again, for a reload. It is nil if there is no configuration file.
	Load func() (*config.Config, error)

	// Changed reports whether the files of the configuration have changed since Load last read them. The caller of
	// [Exporter.ReloadIfChanged] asks every AutoReloadInterval; 0 = never.
	Changed            func() bool
	AutoReloadInterval time.Duration
}

// Exporter is the [http.Handler] of the exporter, created by [New] and stopped by [Exporter.Close].
type Exporter struct {
	http.Handler

	options     Options
	started     time.Time
	collector   *collector.Collector
	storage     *storage
	reloads     *reloads
	registry    *prometheus.Registry      // metrics that no reload replaces
	lastScrape  atomic.Pointer[time.Time] // nil before the first scrape
	renderSlots renderSlots
	current     atomic.Pointer[loadedConfig]
	closing     atomic.Bool
}

// loadedConfig is a configuration and what depends on it.
type loadedConfig struct {
	config   *config.Config
	yaml     func() ([]byte, error) // the configuration as YAML, without secrets
	token    *tokenReader
	advice   advice.Advice
	settings collector.Settings
	limits   quota.Limits

	// The following fields are set when the configuration is applied.
	snapshot *collector.Snapshot
	common   *prometheus.Registry // metrics without a series per user
	registry *prometheus.Registry // all metrics
}

// Check reports why [New] would refuse a valid configuration or options other than those of storage.
func Check(cfg *config.Config, options Options) error {
	options.Logger = log.NewNopLogger()
	_, err := load(cfg, options)
	return err
}

// load derives what depends on a valid configuration, and checks the options other than those of storage.
func load(cfg *config.Config, options Options) (*loadedConfig, error) {
	loaded, err := newLoadedConfig(cfg, options)
	if err != nil {
		return nil, err
	}
	return loaded, cmp.Or(checkTelemetryPath(options.TelemetryPath), checkGrafanaURL(options.GrafanaURL))
}

// New returns an exporter for a valid configuration. It makes no requests.
func New(cfg *config.Config, options Options) (*Exporter, error) {
	loaded, err := load(cfg, options)
	if err != nil {
		return nil, err
	}
	storage, contents, err := openStorage(options)
	if err != nil {
		return nil, err
	}
	guard := newGuard(loaded, storage, contents, options.Logger)
	var leader refresh.Leader
	if storage.store != nil {
		leader = storage
	}
	e := &Exporter{
		options: options, started: wallTime(), storage: storage, reloads: newReloads(),
		renderSlots: make(renderSlots, 2),
	}
	storage.zone = func() *time.Location { return e.current.Load().limits.Zone }
	e.collector = collector.New(collector.Config{
		Settings:       loaded.settings,
		Guard:          guard,
		Leader:         leader,
		CollectTimeout: defaultScrapeTimeout - min(options.TimeoutOffset, defaultScrapeTimeout/2),
		Advice:         func(kind justoneapi.Kind) string { return e.current.Load().advice.For(kind) },
		Logger:         options.Logger,
	})
	e.registry = e.newRegistry()
	e.Handler = e.newMux()
	e.apply(loaded)
	e.logPause()
	return e, nil
}

// newGuard returns a guard that continues from the contents of the storage. A token that was changed while no exporter
// ran lifts a pause.
func newGuard(loaded *loadedConfig, storage *storage, contents store.Contents, logger log.Logger) *quota.Guard {
	config := quota.Config{Limits: loaded.limits, Records: contents.Records, Term: contents.Term}
	if storage.store != nil {
		config.Store = storage.store
	}
	guard := quota.New(config)
	if n := guard.Interrupted(); n > 0 {
		level.Warn(logger).Log(
			"msg", "Requests were interrupted when the exporter last stopped", "requests", n,
			"advice", "No action is needed: they may have been billed, so their users wait for their interval.")
	}
	if n := guard.Unreadable(); n > 0 {
		level.Error(logger).Log("msg", "Error decoding persistent state", "records", n,
			"advice", "The elapsed share of the day's budget counts as used, and users without a record are requested.")
	}
	if guard.SetToken(loaded.token.last.Fingerprint) {
		level.Info(logger).Log("msg", "Resuming API requests, because the token has changed")
	}
	return guard
}

// logPause logs a pause that started before this process and continues.
func (e *Exporter) logPause() {
	current := e.current.Load()
	pause := current.snapshot.Account().Pause
	if pause.Reason == "" || !pause.Resume.After(wallTime()) {
		return
	}
	level.Warn(e.options.Logger).Log("msg", "Requests are still paused", "reason", pause.Reason,
		"since", pause.Since.Format(time.RFC3339),
		"advice", current.advice.For(justoneapi.Kind{Reason: justoneapi.Reason(pause.Reason)}),
		"next_probe", pause.Resume.Format(time.RFC3339))
}

// newLoadedConfig derives what depends on a configuration. It changes nothing in the exporter.
func newLoadedConfig(cfg *config.Config, options Options) (*loadedConfig, error) {
	transport, err := promconfig.NewRoundTripperFromConfig(cfg.API.HTTPClient, "justoneapi",
		// Every request has its own connection. On a reused one, a request could be lost, and perhaps billed,
		// because the server has closed it, or could receive the rest of an earlier response.
		promconfig.WithKeepAlivesDisabled(),
		promconfig.WithHTTP2Disabled(),
		promconfig.WithUserAgent(version.ComponentUserAgent("bilibili_exporter")))
	if err != nil {
		return nil, fmt.Errorf("api.http_client: %w", err)
	}
	base, err := cfg.API.URL()
	if err != nil {
		return nil, fmt.Errorf("api.base_url: %w", err)
	}
	zone, err := cfg.Quota.Location()
	if err != nil {
		return nil, fmt.Errorf("quota.time_zone: %w", err)
	}
	token, err := newTokenReader(cfg.API.ReadToken, options.Logger)
	if err != nil {
		return nil, err
	}
	settings := collector.Settings{
		API:                  justoneapi.New(base, transport),
		Token:                token.read,
		MaxAge:               time.Duration(cfg.MaxAge),
		BalanceInterval:      time.Duration(cfg.API.BalanceInterval),
		RequestTimeout:       time.Duration(cfg.API.Timeout),
		MaxConcurrency:       cfg.API.MaxConcurrency,
		MaxRequestsPerSecond: cfg.API.MaxRequestsPerSecond,
	}
	limits := quota.Limits{
		RetryInterval: time.Duration(cfg.Quota.RetryInterval), DailyLimit: cfg.Quota.DailyLimit, Zone: zone,
		BalanceInterval: time.Duration(cfg.API.BalanceInterval),
	}
	for _, user := range cfg.Users {
		settings.Users = append(settings.Users, collector.User{WMID: user.WMID, Name: user.Name, Labels: user.Labels})
		limits.Users = append(limits.Users, quota.User{WMID: user.WMID, MinInterval: time.Duration(user.MinInterval)})
	}
	return &loadedConfig{
		config: cfg, yaml: sync.OnceValues(cfg.YAML), token: token,
		advice:   advice.Advice{Token: tokenSource(&cfg.API), Demo: options.Demo},
		settings: settings, limits: limits,
	}, nil
}

// newRegistry returns the registry of the metrics that no reload replaces.
func (e *Exporter) newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.storage.errors, e.storage.active, e.reloads.successful, e.reloads.lastSuccess,
		versioncollector.NewCollector("bilibili_exporter"))
	if !e.options.DisableExporterMetrics {
		registry.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
	}
	return registry
}

// apply makes the pages show a configuration that the collector already uses. Its registries gather without API
// requests, because the handler of a scrape has refreshed before. Every configuration has its own registries, because
// a registry refuses changed label names.
func (e *Exporter) apply(c *loadedConfig) {
	c.snapshot, c.common, c.registry = e.collector.Snapshot(), prometheus.NewRegistry(), prometheus.NewRegistry()
	c.common.MustRegister(e.registry, c.snapshot.Common())
	c.registry.MustRegister(e.registry, c.snapshot)
	e.current.Store(c)
}

// Close stops the exporter. It waits for the requests in flight, which may be billed, for as long as they can take, or
// until ctx ends; then it cancels them. Scrapes get the known values meanwhile.
func (e *Exporter) Close(ctx context.Context) {
	e.closing.Store(true)
	current := e.current.Load()
	if n := current.snapshot.Account().InFlight; n > 0 {
		level.Info(e.options.Logger).Log("msg", "Waiting for in-flight requests", "requests", n,
			"timeout", current.settings.RequestTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, current.settings.RequestTimeout+recordTimeout)
	defer cancel()
	e.collector.Close(ctx)
	e.storage.close()
}

// recordTimeout is how long Close waits for the responses to be recorded.
const recordTimeout = 2 * time.Second

// wallTime returns the time without a monotonic reading, because the monotonic clock stops while the machine is
// suspended.
func wallTime() time.Time { return time.Now().Round(0) }

// lastError is the error of the last attempt at a repeated operation. It is safe for concurrent use.
type lastError struct {
	mu   sync.Mutex // protects the following field
	last status.LastError
}

// set sets the error, empty after a success, and returns the previous one.
func (e *lastError) set(text string) (previous string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	previous = e.last.Text
	switch {
	case text == "":
		e.last = status.LastError{}
	case previous == "":
		e.last = status.LastError{Text: text, Since: wallTime()}
	default:
		e.last.Text = text
	}
	return previous
}

// get returns the error, and since when there has been one.
func (e *lastError) get() status.LastError {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}
