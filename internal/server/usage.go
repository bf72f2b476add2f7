package server

import (
	"fmt"
	"math"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// typicalDuration is how long a request usually takes: a few seconds, according to the vendor.
const typicalDuration = 3 * time.Second

// requestRate returns how many requests per second concurrency and rate allow. Their duration is measured as soon as
// there is any.
func (c *loadedConfig) requestRate() float64 {
	duration := c.snapshot.MeanDuration()
	if duration <= 0 {
		duration = typicalDuration
	}
	return math.Min(c.settings.MaxRequestsPerSecond, float64(c.settings.MaxConcurrency)/duration.Seconds())
}

// LogUsage logs the estimated API usage of a configuration: the requests per day that its intervals require, how they
// compare with the daily limit, and the maximum that concurrency and rate allow. It also logs warnings about the
// configuration.
func LogUsage(cfg *config.Config, logger log.Logger) {
	const day = 24 * 60 * 60.
	required := cfg.RequestsPerDay()
	concurrency := float64(cfg.API.MaxConcurrency)
	possible := math.Min(cfg.API.MaxRequestsPerSecond, concurrency/typicalDuration.Seconds()) * day
	var limit any = "none"
	stretch := 1.
	if cfg.Quota.DailyLimit > 0 {
		limit = cfg.Quota.DailyLimit
		stretch = math.Max(1, required/float64(cfg.Quota.DailyLimit))
	}
	level.Info(logger).Log("msg", "Estimated API usage", "users", len(cfg.Users),
		"requests_per_day", int64(math.Ceil(required)), "daily_limit", limit, "stretch", fmt.Sprintf("%.2f", stretch),
		"max_requests_per_day", int64(possible))
	if required > possible {
		level.Warn(logger).Log("msg", "Configured intervals require more requests than concurrency and rate allow",
			"requests_per_day", int64(math.Ceil(required)), "max_requests_per_day", int64(possible),
			"seconds_per_request", typicalDuration.Seconds(),
			"advice", "Raise api.max_concurrency or api.max_requests_per_second, or lengthen the intervals.")
	}
	for _, warning := range cfg.Warnings() {
		level.Warn(logger).Log("msg", "Configuration warning", "warning", warning)
	}
}
