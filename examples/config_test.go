package examples

import (
	"reflect"
	"regexp"
	"slices"
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

// uncommentable matches a line that is a key or a value in a comment; its groups are the indentation and the key.
var uncommentable = regexp.MustCompile(`^( *)#(?: ?)( *[a-z_]+:(?: .*)?)$`)

// TestUncommented removes the comment sign of every block of keys in bilibili_exporter.yml, and of each of its lines.
func TestUncommented(t *testing.T) {
	const path = "examples/bilibili_exporter.yml"
	lines := strings.Split(exportertest.ReadFile(t, path), "\n")
	blocks := 0
	for first := 0; first < len(lines); first++ {
		last := first
		for last < len(lines) && uncommentable.MatchString(lines[last]) {
			last++
			expectUncommented(t, lines, first, last)
		}
		if last > first {
			blocks++
			first = last
		}
	}
	if blocks < 5 {
		t.Errorf("found %d blocks", blocks)
	}
}

// expectUncommented loads a configuration with some lines uncommented.
func expectUncommented(t *testing.T, lines []string, first, last int) {
	t.Helper()
	changed := slices.Clone(lines)
	for i := first; i < last; i++ {
		changed[i] = uncommentable.ReplaceAllString(lines[i], "$1$2")
	}
	text := strings.Join(changed, "\n")
	t.Setenv(config.TokenVariable, "x")
	if _, err := config.Parse("b.yml", strings.NewReader(text)); err != nil {
		t.Errorf("%v after removing the comment sign of\n%s", err, strings.Join(lines[first:last], "\n"))
	}
}
