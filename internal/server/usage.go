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
// compare with the daily limit, the maximum that concurrency and rate allow, and what follows. It also logs warnings
// about the configuration.
func LogUsage(cfg *config.Config, logger log.Logger) {
	const day = 24 * 60 * 60.
	required := cfg.RequestsPerDay()
	possible := math.Min(cfg.API.MaxRequestsPerSecond, float64(cfg.API.MaxConcurrency)/typicalDuration.Seconds()) * day
	var limit any = "none"
	wanted := required
	if cfg.Quota.DailyLimit > 0 {
		limit = cfg.Quota.DailyLimit
		wanted = math.Min(required, float64(cfg.Quota.DailyLimit))
	}
	usage := []any{
		"msg", "Estimated API usage", "users", len(cfg.Users),
		"requests_per_day", int64(math.Ceil(required)), "daily_limit", limit,
		"stretch", fmt.Sprintf("%.2f", required/wanted),
		"max_requests_per_day", int64(possible), "assumed_request_duration", typicalDuration,
	}
	switch {
	case wanted > possible:
		level.Warn(logger).Log(append(usage, "verdict", "concurrency and rate are too low for the intervals",
			"advice", "Raise api.max_concurrency or api.max_requests_per_second, or lengthen the intervals.")...)
	case wanted < required:
		level.Info(logger).Log(append(usage, "verdict", "the daily limit stretches every interval")...)
	default:
		level.Info(logger).Log(append(usage, "verdict", "every user can be requested at its interval")...)
	}
	for _, warning := range cfg.Warnings() {
		level.Warn(logger).Log("msg", "Configuration warning", "warning", warning)
	}
}
