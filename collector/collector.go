// Package collector exposes Bilibili follower counts as Prometheus metrics. A
// scrape makes it ask Just One API for the users that are due; the guard
// decides which those are.
package collector

import (
	"context"
	"maps"
	"slices"
	"strconv"
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

// User is a user whose counts are exposed.
type User struct {
	WMID   int64
	Name   string            // for bilibili_user_info and the log
	Labels map[string]string // further labels of bilibili_user_info
}

// Config is what a [Collector] needs. All fields are required.
type Config struct {
	API    API
	Token  func() justoneapi.Token // asked at every refresh; may do I/O
	Guard  *quota.Guard            // for the same users
	Users  []User                  // each WMID once
	Logger log.Logger

	MaxAge               time.Duration // a value older than this is not exposed
	CallTimeout          time.Duration // of one call
	CollectTimeout       time.Duration // how long Collect waits for a refresh
	MaxConcurrency       int           // calls at a time
	MaxRequestsPerSecond float64       // calls begun in a second
}

// Collector is a [prometheus.Collector] of follower counts. [New] makes one;
// [Collector.Close] ends it.
type Collector struct {
	config    Config
	refresher *refresher
	requests  *requestMetrics
	metrics   userMetrics
	account   accountMetrics
}

// New returns a collector, which has called nobody yet.
func New(config Config) *Collector {
	labels := make(map[string]bool)
	for _, user := range config.Users {
		for label := range user.Labels {
			labels[label] = true
		}
	}
	requests := newRequestMetrics()
	return &Collector{
		config:    config,
		requests:  requests,
		refresher: newRefresher(config, requests),
		metrics:   newUserMetrics(slices.Sorted(maps.Keys(labels))),
		account:   newAccountMetrics(),
	}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	c.metrics.describe(ch)
	c.account.describe(ch)
	c.requests.Describe(ch)
}

// Collect implements [prometheus.Collector]. It refreshes first, waiting at
// most the configured time: so the collector does its job in any registry. A
// handler that knows the deadline of the scrape uses [Collector.Refresh] and
// [Collector.Cached] instead.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.config.CollectTimeout)
	defer cancel()
	c.Refresh(ctx)
	c.emit(ch)
}

// Refresh makes sure that the users that are due are asked about, and waits
// for that until ctx ends at the latest. Calls that it then leaves behind go
// on, and their answers count for the next scrape.
func (c *Collector) Refresh(ctx context.Context) { c.refresher.refresh(ctx) }

// Cached returns a view of c that collects the same metrics without a refresh,
// for a handler that has refreshed already.
func (c *Collector) Cached() prometheus.Collector { return cached{c} }

type cached struct{ *Collector }

func (c cached) Collect(ch chan<- prometheus.Metric) { c.emit(ch) }

// Close ends the collector: no call begins any more, and those that run are
// waited for until ctx ends, and then cut.
func (c *Collector) Close(ctx context.Context) { c.refresher.close(ctx) }

// emit sends the metrics as they stand.
func (c *Collector) emit(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, user := range c.config.Users {
		c.metrics.emitInfo(ch, user)
	}
	for _, state := range c.config.Guard.Users() {
		c.metrics.emitState(ch, state, c.fresh(state, now))
	}
	c.account.emit(ch, c.config.Guard.Status())
	c.requests.Collect(ch)
}

// fresh reports whether a user's value is young enough to be shown. An early
// retry, which makes the interval shorter, does not make the value older.
func (c *Collector) fresh(state quota.State, now time.Time) bool {
	return !state.Value.At.IsZero() && now.Sub(state.Value.At) <= max(c.config.MaxAge, 3*state.Interval, 3*state.MinInterval)
}

func formatWMID(wmid int64) string { return strconv.FormatInt(wmid, 10) }
