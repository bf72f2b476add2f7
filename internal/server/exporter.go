// Package server puts the parts together: from a configuration it makes the
// HTTP handler of the whole exporter.
package server

import (
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
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

// FillVersion fills in the version of a binary that was built without ldflags,
// from what the Go toolchain has noted in it. A command calls it first.
func FillVersion() {
	if info, ok := debug.ReadBuildInfo(); ok && version.Version == "" {
		version.Version = info.Main.Version
	}
}

// Options are the settings that do not come from the configuration.
type Options struct {
	Logger                 log.Logger
	TelemetryPath          string        // of the metrics, beginning with a slash
	TimeoutOffset          time.Duration // taken off the scrape timeout that Prometheus tells; at least 0
	MaxRequests            int           // requests at a time, of scrapes and of other pages each; 0 = no limit
	DisableExporterMetrics bool          // leave out go_*, process_* and promhttp_*
	StoragePath            string        // folder that keeps what is known; empty keeps nothing
	EnableLifecycle        bool          // whether POST /-/reload reloads

	// Load reads the configuration anew, for a reload.
	Load func() (*config.Config, error)
}

// Exporter is the [http.Handler] of the exporter. [New] makes one;
// [Exporter.Close] ends it.
type Exporter struct {
	http.Handler

	options   Options
	started   time.Time
	collector *collector.Collector
	storage   *storage
	reloads   *reloads
	registry  *prometheus.Registry      // of what no reload changes
	scraped   atomic.Pointer[time.Time] // when the latest scrape came, nil before the first
	rendering rendering
	inForce   atomic.Pointer[inForce]
	closing   atomic.Bool
}

// inForce is a configuration in force, and what a reload replaces with it.
type inForce struct {
	config   *config.Config
	text     func() ([]byte, error) // the configuration as YAML, without secrets
	zone     *time.Location
	token    *tokenSource
	view     *collector.Snapshot
	common   *prometheus.Registry // of what has no series for each user
	registry *prometheus.Registry // of everything
}

// New returns an exporter for a valid configuration. It calls nobody.
func New(cfg *config.Config, options Options) (*Exporter, error) {
	p, err := prepare(cfg, options.Logger)
	if err != nil {
		return nil, err
	}
	if err := checkTelemetryPath(options.TelemetryPath); err != nil {
		return nil, err
	}
	storage, err := openStorage(options.StoragePath, options.Logger)
	if err != nil {
		return nil, err
	}
	guard := newGuard(p.limits, storage)
	e := &Exporter{options: options, started: time.Now(), storage: storage, reloads: newReloads(), rendering: make(rendering, 2)}
	e.collector = collector.New(collector.Config{
		Settings:       p.settings,
		Guard:          guard,
		CollectTimeout: defaultScrapeTimeout - min(options.TimeoutOffset, defaultScrapeTimeout/2),
		Advice:         advice.For,
		Logger:         options.Logger,
	})
	if n := guard.Interrupted(); n > 0 {
		level.Warn(options.Logger).Log("msg", "Calls were cut off with the process before, and may have been billed: their users wait for their interval", "calls", n)
	}
	e.registry = e.newRegistry()
	handler := e.newMux()
	e.use(p)
	e.Handler = handler
	return e, nil
}

// prepared is a configuration, and what the parts need of it.
type prepared struct {
	config   *config.Config
	token    *tokenSource
	settings collector.Settings
	limits   quota.Limits
}

// prepare makes of a configuration what the parts need. It changes nothing.
func prepare(cfg *config.Config, logger log.Logger) (*prepared, error) {
	transport, err := promconfig.NewRoundTripperFromConfig(cfg.API.HTTPClient, "justoneapi",
		// Every call has a connection of its own. On one that was used before,
		// a call could be lost, and perhaps billed, because the other side has
		// closed it, or could get what was left over of the answer before.
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
	token, err := newTokenSource(cfg.API.ReadToken, logger)
	if err != nil {
		return nil, err
	}
	settings := collector.Settings{
		API:                  justoneapi.New(base, transport),
		Token:                token.read,
		MaxAge:               time.Duration(cfg.MaxAge),
		RequestTimeout:       time.Duration(cfg.API.Timeout),
		MaxConcurrency:       cfg.API.MaxConcurrency,
		MaxRequestsPerSecond: cfg.API.MaxRequestsPerSecond,
	}
	limits := quota.Limits{RetryInterval: time.Duration(cfg.Quota.RetryInterval), DailyLimit: cfg.Quota.DailyLimit, Zone: zone}
	for _, user := range cfg.Users {
		settings.Users = append(settings.Users, collector.User{WMID: user.WMID, Name: user.Name, Labels: user.Labels})
		limits.Users = append(limits.Users, quota.User{WMID: user.WMID, MinInterval: time.Duration(user.MinInterval)})
	}
	return &prepared{cfg, token, settings, limits}, nil
}

// newGuard returns a guard that remembers what the storage holds.
func newGuard(limits quota.Limits, storage *storage) *quota.Guard {
	guard := quota.Config{Limits: limits, Records: storage.contents.Records}
	if storage.store != nil {
		guard.Store = storage.store
	}
	return quota.New(guard)
}

// newRegistry returns the registry of what no reload changes.
func (e *Exporter) newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.storage.errors, e.reloads, versioncollector.NewCollector("bilibili_exporter"))
	if !e.options.DisableExporterMetrics {
		registry.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
	}
	return registry
}

// use makes a configuration, which the collector has taken over, the one that
// the pages show. They gather without calling the API: a scrape has refreshed
// before. A registry keeps to the label names that it has seen, so that each
// configuration has its own.
func (e *Exporter) use(p *prepared) {
	f := &inForce{
		config: p.config, text: sync.OnceValues(p.config.YAML), zone: p.limits.Zone, token: p.token,
		view: e.collector.Snapshot(), common: prometheus.NewRegistry(), registry: prometheus.NewRegistry(),
	}
	f.common.MustRegister(e.registry, f.view.Common())
	f.registry.MustRegister(e.registry, f.view)
	e.inForce.Store(f)
}

// Close ends the exporter: scrapes are answered with what is at hand, calls
// that run are waited for until ctx ends, and then cut.
func (e *Exporter) Close(ctx context.Context) {
	e.closing.Store(true)
	e.collector.Close(ctx)
	e.storage.close()
}
