package examples

import (
	"reflect"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestConfig checks that bilibili_exporter.yml has every key, with its default.
func TestConfig(t *testing.T) {
	const path = "examples/bilibili_exporter.yml"
	t.Setenv(config.TokenVariable, "x")
	got, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	users := "users: [472747194, {wmid: 2, name: 碧诗, labels: {agency: none}, min_interval: 1h}]"
	want, err := config.Parse(path, strings.NewReader(users))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, key := range []string{
		"environment", "base_url", "token", "token_file", "timeout", "max_concurrency", "max_requests_per_second",
		"balance_interval",
		"http_client", "min_interval", "retry_interval", "daily_limit", "time_zone", "max_age", "users", "wmid", "name",
		"labels", "user_files",
	} {
		exportertest.Find(t, path, `(?m)^[ #-]*(`+key+`):`)
	}
}
