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

// drawRecord draws the stored record of a user.
func drawRecord(t *rapid.T) object {
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Now().Add(-time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "age")))
	})
	count := rapid.Int64Range(0, 1<<53)
	code := rapid.SampledFrom([]string{"301", "-404", "timeout", `a"\` + "\nb"})
	verdict := rapid.IntRange(int(quota.VerdictSuccess), int(quota.VerdictRefused)).Draw(t, "verdict")
	record := object{
		"started": at.Draw(t, "started"), "verdict": verdict % int(quota.VerdictRefused),
		"streak":    rapid.IntRange(0, 9).Draw(t, "streak"),
		"completed": rapid.Bool().Draw(t, "completed"),
		"last":      object{"verdict": verdict, "code": code.Draw(t, "code")},
	}
	if rapid.Bool().Draw(t, "with a value") {
		record["value"] = object{
			"followers": count.Draw(t, "followers"), "following": count.Draw(t, "following"), "at": at.Draw(t, "at"),
		}
	}
	return record
}

// drawSnapshot draws a snapshot of users in any state.
func drawSnapshot(t *rapid.T) *collector.Snapshot {
	names := rapid.OneOf(rapid.StringN(1, 10, -1), rapid.StringMatching(`["\\\nab{}]{1,5}`))
	labels := rapid.MapOfN(rapid.SampledFrom([]string{"Tier", "agency", "team", "zone"}), names, 0, 3)
	wmids := rapid.OneOf(rapid.Int64Range(1, 120), rapid.Int64Range(1, 1<<53))
	var users []collector.User
	var limits []quota.User
	records := make(map[string][]byte)
	for _, wmid := range rapid.SliceOfNDistinct(wmids, 0, 12, rapid.ID).Draw(t, "wmids") {
		users = append(users, collector.User{
			WMID: wmid, Name: names.Draw(t, "name"), Labels: labels.Draw(t, "labels"),
		})
		interval := time.Duration(rapid.Int64Range(1e9, 1e14).Draw(t, "interval"))
		limits = append(limits, quota.User{WMID: wmid, MinInterval: interval})
		if rapid.Bool().Draw(t, "with a record") {
			records[fmt.Sprint("user/", wmid)], _ = json.Marshal(drawRecord(t))
		}
	}
	if len(limits) > 0 && rapid.Bool().Draw(t, "during a reload") { // the guard has other users
		limits[0].WMID = 1 << 60
	}
	now := time.Now()
	guard := quota.New(quota.Config{
		Now: func() time.Time { return now },
		Limits: quota.Limits{
			Users: limits, RetryInterval: time.Minute, DailyLimit: rapid.IntRange(0, 100).Draw(t, "limit"), Zone: time.UTC,
		},
		Records: records,
	})
	for _, state := range guard.Users() {
		if records[fmt.Sprint("user/", state.WMID)] != nil && state.Started.IsZero() {
			t.Fatalf("the record of user %d was not restored", state.WMID)
		}
	}
	settings := settingsFor(nil, users)
	settings.MaxAge = time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "max_age"))
	return collector.New(collector.Config{Settings: settings, Guard: guard, Logger: log.NewNopLogger()}).Snapshot()
}

// registryWithOthers returns a registry of the collectors and of further metrics, whose names sort before, between and
// after those of the exporter.
func registryWithOthers(collectors ...prometheus.Collector) *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "bilibili_g", "bilibili_followers_", "bilibili_upper", "bilibili_user_", "z"} {
		registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: `\ "`}))
	}
	registry.MustRegister(collectors...)
	return registry
}

// TestText compares the output of WriteText with that of a registry, byte by byte.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snapshot := drawSnapshot(t)
		all, err := registryWithOthers(snapshot).Gather()
		if err != nil {
			t.Fatal(err)
		}
		var want, got strings.Builder
		for _, family := range all {
			if _, err := expfmt.MetricFamilyToText(&want, family); err != nil {
				t.Fatal(err)
			}
		}
		families, err := registryWithOthers(snapshot.Common()).Gather()
		if err != nil {
			t.Fatal(err)
		}
		if err := snapshot.WriteText(&got, families); err != nil || got.String() != want.String() {
			t.Fatalf("error %v, got\n%s\nwant\n%s", err, got.String(), want.String())
		}
		got.Reset()
		if err := snapshot.WriteText(&got, nil); err != nil {
			t.Fatal(err)
		}
		const last = "# TYPE bilibili_user_interval_seconds"
		if strings.Contains(got.String(), last) != strings.Contains(want.String(), last) {
			t.Fatalf("without other families: got\n%s\nof\n%s", got.String(), want.String())
		}
	})
}
