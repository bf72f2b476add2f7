// Package collector exposes follower counts of Bilibili users as Prometheus metrics. A scrape makes it request the
// users that are due from Just One API.
package collector

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/refresh"
)

// Settings are what [Collector.Reload] may change. All fields are required.
type Settings struct {
	API   refresh.API
	Token func() justoneapi.Token // called for every scrape, by one goroutine at a time; may do I/O
	Users []User                  // each WMID once

	MaxAge               time.Duration // an older value is not exposed
	BalanceInterval      time.Duration // of the guard; a balance that is older than 3 of it is not exposed; 0 = never
	RequestTimeout       time.Duration // of one request
	MaxConcurrency       int           // requests in flight at a time
	MaxRequestsPerSecond float64
}

// refreshSettings returns the part of the settings that concerns the refresh.
func (s Settings) refreshSettings() refresh.Settings {
	names := make(map[int64]string, len(s.Users))
	for _, user := range s.Users {
		names[user.WMID] = user.Name
	}
	return refresh.Settings{
		API: s.API, Token: s.Token, Names: names,
		RequestTimeout: s.RequestTimeout, MaxConcurrency: s.MaxConcurrency, MaxRequestsPerSecond: s.MaxRequestsPerSecond,
	}
}

// snapshot returns what is exposed under the settings.
func (s Settings) snapshot(guard *quota.Guard, requests *requestMetrics) *Snapshot {
	return newSnapshot(s.Users, s.MaxAge, s.BalanceInterval, guard, requests)
}

// Config is what a [Collector] needs. All fields but Leader are required.
type Config struct {
	Settings
	Guard          *quota.Guard   // of the same users
	Leader         refresh.Leader // nil if there is only one replica
	CollectTimeout time.Duration
	Advice         func(justoneapi.Kind) string // what to do about a failure, for the log
	Logger         log.Logger
}

// Collector is a [prometheus.Collector] of follower counts. [Collector.Close] stops it.
type Collector struct {
	guard          *quota.Guard
	collectTimeout time.Duration // how long Collect waits for a refresh
	refresher      *refresh.Refresher
	requests       *requestMetrics
	snapshot       atomic.Pointer[Snapshot] // of the current settings
}

// New returns a collector. It has sent no request yet.
func New(config Config) *Collector {
	c := &Collector{guard: config.Guard, collectTimeout: config.CollectTimeout, requests: newRequestMetrics()}
	c.refresher = refresh.New(refresh.Config{
		Settings: config.refreshSettings(), Guard: config.Guard, Leader: config.Leader, Observer: c.requests,
		Advice: config.Advice, Logger: config.Logger,
	})
	c.snapshot.Store(config.snapshot(c.guard, c.requests))
	return c
}

// Reload changes the settings and the limits of the guard. Requests in flight continue. A token that differs
// from the last one lifts a pause. Reload must not be called by two goroutines at a time.
//
// Label names of bilibili_user_info may change. A registry that holds c itself keeps the old ones; the new ones need a
// new registry.
func (c *Collector) Reload(settings Settings, limits quota.Limits) {
	snapshot := settings.snapshot(c.guard, c.requests) // slow, therefore before the settings change
	c.refresher.Reload(settings.refreshSettings(), limits)
	c.snapshot.Store(snapshot)
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { c.Snapshot().Describe(ch) }

// Collect implements [prometheus.Collector]. It refreshes first, waiting at most the configured time, so that the
// collector does its job in any registry. A handler that knows the deadline of the scrape uses [Collector.Refresh]
// and [Collector.Snapshot] instead.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.collectTimeout)
	defer cancel()
	c.Refresh(ctx)
	c.Snapshot().Collect(ch)
}

// Refresh makes sure that the users that are due are requested, and waits for that until ctx ends. See
// [refresh.Refresher.Refresh].
func (c *Collector) Refresh(ctx context.Context) { c.refresher.Refresh(ctx) }

// Snapshot returns what c exposes under the current settings. A later [Collector.Reload] changes neither its users nor
// its metrics.
func (c *Collector) Snapshot() *Snapshot { return c.snapshot.Load() }

// Close lets no further request start and waits for those in flight until ctx ends; then it cancels them.
func (c *Collector) Close(ctx context.Context) { c.refresher.Close(ctx) }
