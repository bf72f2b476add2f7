package collector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"pgregory.net/rapid"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// object is a JSON object.
type object map[string]any

// someState draws what is stored of a user.
func someState(t *rapid.T) object {
	at := rapid.Custom(func(t *rapid.T) int64 {
		return time.Now().Add(-time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "age"))).UnixNano()
	})
	count := rapid.Int64Range(0, 1<<53)
	value := func(label string) object {
		return object{"followers": count.Draw(t, label), "following": count.Draw(t, label), "at": at.Draw(t, label)}
	}
	verdict := rapid.IntRange(int(quota.VerdictSuccess), int(quota.VerdictRefused)).Draw(t, "verdict")
	state := object{
		"started": at.Draw(t, "started"), "interval": 1, "streak": rapid.IntRange(0, 9).Draw(t, "streak"), "verdict": verdict % 4,
		"ended": rapid.Bool().Draw(t, "ended"), "last": object{"verdict": verdict, "code": rapid.SampledFrom([]string{"301", "-404", "timeout", `a"\` + "\nb"}).Draw(t, "code")},
	}
	if rapid.Bool().Draw(t, "valued") {
		state["value"] = value("value")
	}
	return state
}

// someView draws a view of users in any state.
func someView(t *rapid.T) *collector.Snapshot {
	names := rapid.OneOf(rapid.StringN(1, 10, -1), rapid.StringMatching(`["\\\nab{}]{1,5}`))
	labels := rapid.MapOfN(rapid.SampledFrom([]string{"Tier", "agency", "team", "zone"}), names, 0, 3)
	var users []collector.User
	var limits []quota.User
	records := make(map[string][]byte)
	for _, wmid := range rapid.SliceOfNDistinct(rapid.OneOf(rapid.Int64Range(1, 120), rapid.Int64Range(1, 1<<53)), 0, 12, rapid.ID).Draw(t, "wmids") {
		users = append(users, collector.User{WMID: wmid, Name: names.Draw(t, "name"), Labels: labels.Draw(t, "labels")})
		limits = append(limits, quota.User{WMID: wmid, MinInterval: time.Duration(rapid.Int64Range(1e9, 1e14).Draw(t, "interval"))})
		if rapid.Bool().Draw(t, "known") {
			records[fmt.Sprint("user/", wmid)], _ = json.Marshal(someState(t))
		}
	}
	if len(limits) > 0 && rapid.Bool().Draw(t, "reloading") { // the guard knows others already
		limits[0].WMID = 1 << 60
	}
	now := time.Now()
	guard := quota.New(quota.Config{
		Now:     func() time.Time { return now },
		Limits:  quota.Limits{Users: limits, RetryInterval: time.Minute, DailyLimit: rapid.IntRange(0, 100).Draw(t, "limit"), Zone: time.UTC},
		Records: records,
	})
	settings := settingsFor(nil, users)
	settings.MaxAge = time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "max_age"))
	return collector.New(collector.Config{Settings: settings, Guard: guard, Logger: log.NewNopLogger()}).Snapshot()
}

// others is a registry of metrics of somebody else, before, between and after
// those of the exporter.
func others(collectors ...prometheus.Collector) *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "bilibili_g", "bilibili_followers_", "bilibili_upper", "bilibili_user_", "z"} {
		registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: `\ "`}))
	}
	registry.MustRegister(collectors...)
	return registry
}

// TestText compares the text that is written with that of a registry, byte by
// byte.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := someView(t)
		all, err := others(view).Gather()
		if err != nil {
			t.Fatal(err)
		}
		var want, got strings.Builder
		for _, family := range all {
			if _, err := expfmt.MetricFamilyToText(&want, family); err != nil {
				t.Fatal(err)
			}
		}
		families, err := others(view.Common()).Gather()
		if err != nil {
			t.Fatal(err)
		}
		if err := view.WriteText(&got, families); err != nil || got.String() != want.String() {
			t.Fatalf("error %v, got\n%s\nwant\n%s", err, got.String(), want.String())
		}
		got.Reset()
		if err := view.WriteText(&got, nil); err != nil {
			t.Fatal(err)
		}
		const last = "# TYPE bilibili_user_interval_seconds"
		if strings.Contains(got.String(), last) != strings.Contains(want.String(), last) {
			t.Fatalf("alone, got\n%s\nof\n%s", got.String(), want.String())
		}
	})
}
