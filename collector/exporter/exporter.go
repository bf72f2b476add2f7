// Package exporter puts the parts together: from a configuration it makes the
// HTTP handler of the whole exporter.
package exporter

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/config"
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
	MaxRequests            int           // scrapes at a time; 0 = no limit
	DisableExporterMetrics bool          // leave out go_*, process_* and promhttp_*
	StoragePath            string        // folder that keeps what is known; empty keeps nothing
}

// Exporter is the [http.Handler] of the exporter. [New] makes one;
// [Exporter.Close] ends it.
type Exporter struct {
	http.Handler

	collector *collector.Collector
	storage   *storage
	closing   atomic.Bool
}

// New returns an exporter for a valid configuration. It calls nobody.
func New(cfg *config.Config, options Options) (*Exporter, error) {
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
	token, err := newTokenSource(cfg.API.ReadToken, options.Logger)
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
	guard, err := newGuard(cfg, storage)
	if err != nil {
		return nil, err
	}
	e := &Exporter{storage: storage}
	e.collector = collector.New(collector.Config{
		API:                  justoneapi.New(base, transport),
		Token:                token.read,
		Guard:                guard,
		Users:                users(cfg),
		Logger:               options.Logger,
		MaxAge:               time.Duration(cfg.MaxAge),
		CallTimeout:          time.Duration(cfg.API.Timeout),
		CollectTimeout:       defaultScrapeTimeout - min(options.TimeoutOffset, defaultScrapeTimeout/2),
		MaxConcurrency:       cfg.API.MaxConcurrency,
		MaxRequestsPerSecond: cfg.API.MaxRequestsPerSecond,
	})
	e.Handler = e.newMux(e.newRegistry(options), options)
	return e, nil
}

// newGuard returns a guard that remembers what the storage holds.
func newGuard(cfg *config.Config, storage *storage) (*quota.Guard, error) {
	zone, err := cfg.Quota.Location()
	if err != nil {
		return nil, fmt.Errorf("quota.time_zone: %w", err)
	}
	guard := quota.Config{
		RetryInterval: time.Duration(cfg.Quota.RetryInterval), DailyLimit: cfg.Quota.DailyLimit, Zone: zone,
		Records: storage.contents.Records,
	}
	if storage.store != nil {
		guard.Store = storage.store
	}
	for _, user := range cfg.Users {
		guard.Users = append(guard.Users, quota.User{WMID: user.WMID, MinInterval: time.Duration(user.MinInterval)})
	}
	return quota.New(guard), nil
}

func users(cfg *config.Config) []collector.User {
	var users []collector.User
	for _, user := range cfg.Users {
		users = append(users, collector.User{WMID: user.WMID, Name: user.Name, Labels: user.Labels})
	}
	return users
}

// newRegistry returns the registry of all that is exposed. It gathers without
// calling the API: the handler has refreshed before.
func (e *Exporter) newRegistry(options Options) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.collector.Cached(), e.storage.errors, versioncollector.NewCollector("bilibili_exporter"))
	if !options.DisableExporterMetrics {
		registry.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
	}
	return registry
}

// Close ends the exporter: scrapes are answered with what is at hand, calls
// that run are waited for until ctx ends, and then cut.
func (e *Exporter) Close(ctx context.Context) {
	e.closing.Store(true)
	e.collector.Close(ctx)
	e.storage.close()
}
