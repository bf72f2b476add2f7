// Package collector exposes Bilibili follower counts as Prometheus metrics. A
// scrape makes it ask Just One API for the users that are due; the guard
// decides which those are.
package collector

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// API is what the collector needs of [justoneapi.Client]. A failed call
// returns a [*justoneapi.Error].
type API interface {
	RelationStat(ctx context.Context, token justoneapi.Token, wmid int64) (justoneapi.Stat, error)
}

// User is a user whose counts are exposed. Its texts are valid UTF-8.
type User struct {
	WMID   int64
	Name   string            // for bilibili_user_info and the log
	Labels map[string]string // further labels of bilibili_user_info
}

// Settings are what [Collector.Reload] may change. All fields are required.
type Settings struct {
	API   API
	Token func() justoneapi.Token // asked at every refresh, by one at a time; may do I/O
	Users []User                  // each WMID once

	MaxAge               time.Duration // a value older than this is not exposed
	RequestTimeout       time.Duration // of one call
	MaxConcurrency       int           // calls at a time
	MaxRequestsPerSecond float64       // calls begun in a second
}

// Config is what a [Collector] needs. All fields are required.
type Config struct {
	Settings
	Guard          *quota.Guard // for the same users
	CollectTimeout time.Duration
	Advice         func(justoneapi.Kind) string // what to do about a failure, for the log
	Logger         log.Logger
}

// Collector is a [prometheus.Collector] of follower counts. [New] makes one;
// [Collector.Close] ends it.
type Collector struct {
	guard          *quota.Guard
	collectTimeout time.Duration // how long Collect waits for a refresh
	refresher      *refresher
	requests       *requestMetrics
	view           atomic.Pointer[Snapshot] // of the settings in force
}

// New returns a collector, which has called nobody yet.
func New(config Config) *Collector {
	c := &Collector{guard: config.Guard, collectTimeout: config.CollectTimeout, requests: newRequestMetrics()}
	s := newSettings(config.Settings)
	c.refresher = newRefresher(config, s, c.requests)
	c.view.Store(newView(s, c.guard, c.requests))
	return c
}

// Reload changes the settings, and the limits of the guard with them. Calls
// that run are not disturbed. A token other than before lifts a pause. It must
// not be called by two at a time.
//
// Label names of bilibili_user_info may change. A registry that has c itself
// keeps the old ones: for the new ones it takes a new registry.
func (c *Collector) Reload(settings Settings, limits quota.Limits) {
	s := newSettings(settings)
	view := newView(s, c.guard, c.requests) // before, since it takes its time
	c.refresher.reload(s, limits)
	c.view.Store(view)
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { c.Snapshot().Describe(ch) }

// Collect implements [prometheus.Collector]. It refreshes first, waiting at
// most the configured time: so the collector does its job in any registry. A
// handler that knows the deadline of the scrape uses [Collector.Refresh] and
// [Collector.Snapshot] instead.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.collectTimeout)
	defer cancel()
	c.Refresh(ctx)
	c.Snapshot().Collect(ch)
}

// Refresh makes sure that the users that are due are asked about, and waits
// for that until ctx ends at the latest. Calls that it then leaves behind go
// on, and their answers count for the next scrape.
func (c *Collector) Refresh(ctx context.Context) { c.refresher.refresh(ctx) }

// Snapshot returns a view of what c knows, by the settings in force: a later
// [Collector.Reload] does not change whom it shows, nor its metrics.
func (c *Collector) Snapshot() *Snapshot { return c.view.Load() }

// Close ends the collector: no call begins any more, and those that run are
// waited for until ctx ends, and then cut.
func (c *Collector) Close(ctx context.Context) { c.refresher.close(ctx) }

func formatWMID(wmid int64) string { return strconv.FormatInt(wmid, 10) }
