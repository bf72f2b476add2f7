package server

import (
	"fmt"
	"math"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// usualCall is what a call takes as a rule: a few seconds, says the vendor.
const usualCall = 3 * time.Second

// LogCost logs what a configuration costs: the calls a day that its intervals
// make, how that compares with the daily limit, and the most that concurrency
// and rate allow; and it warns of what is unwise.
func LogCost(cfg *config.Config, logger log.Logger) {
	const day = 24 * 60 * 60.
	wanted, limit := cfg.RequestsPerDay(), float64(cfg.Quota.DailyLimit)
	possible := math.Min(cfg.API.MaxRequestsPerSecond, float64(cfg.API.MaxConcurrency)/usualCall.Seconds()) * day
	stretch := 1.
	if limit > 0 {
		stretch = math.Max(1, wanted/limit)
	}
	level.Info(logger).Log("msg", "What this set-up costs", "users", len(cfg.Users),
		"calls_per_day", int64(math.Ceil(wanted)), "daily_limit", limitText(cfg.Quota.DailyLimit), "stretch", fmt.Sprintf("%.2f", stretch),
		"most_calls_per_day", int64(possible))
	if wanted > possible {
		level.Warn(logger).Log("msg", "Users will be asked about less often than their intervals say: raise api.max_concurrency or api.max_requests_per_second, or the intervals",
			"calls_per_day", int64(math.Ceil(wanted)), "most_calls_per_day", int64(possible), "at_seconds_per_call", usualCall.Seconds())
	}
	for _, warning := range cfg.Warnings() {
		level.Warn(logger).Log("msg", "Unwise configuration", "warning", warning)
	}
}

func limitText(limit int) any {
	if limit == 0 {
		return "none"
	}
	return limit
}
