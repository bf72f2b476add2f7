package examples

import (
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// configs are the example in each language.
var configs = []string{"examples/bilibili_exporter.yml", "examples/bilibili_exporter.zh-CN.yml"}

// inEachLanguage calls check with the example in each language.
func inEachLanguage(t *testing.T, check func(t *testing.T, path string)) {
	t.Setenv(config.TokenVariable, "x")
	for _, path := range configs {
		t.Run(filepath.Base(path), func(t *testing.T) { check(t, path) })
	}
}

// TestConfig checks that the example has every key, with its default.
func TestConfig(t *testing.T) { inEachLanguage(t, expectDefaults) }

func expectDefaults(t *testing.T, path string) {
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

// TestUncommented removes the comment sign of every block of keys in the example, and of each of its lines.
func TestUncommented(t *testing.T) { inEachLanguage(t, expectUncommentable) }

func expectUncommentable(t *testing.T, path string) {
	lines := strings.Split(exportertest.ReadFile(t, path), "\n")
	blocks := 0
	for first := 0; first < len(lines); first++ {
		last := first
		for last < len(lines) && uncommentable.MatchString(lines[last]) {
			last++
			expectUncommented(t, lines, first, last)
			expectUncommented(t, lines, last-1, last)
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
	if _, err := config.Parse("b.yml", strings.NewReader(text)); err != nil {
		t.Errorf("%v after removing the comment sign of\n%s", err, strings.Join(lines[first:last], "\n"))
	}
}

// prose matches a comment, with the white space before it.
var prose = regexp.MustCompile(`( *)#.*$`)

// TestTranslation compares the example in each language with the first one, but for the text of the comments.
func TestTranslation(t *testing.T) {
	want := withoutProse(exportertest.ReadFile(t, configs[0]))
	inEachLanguage(t, func(t *testing.T, path string) {
		if got := withoutProse(exportertest.ReadFile(t, path)); got != want {
			t.Errorf("got\n%s\nwant as in %s\n%s", got, configs[0], want)
		}
	})
}

// withoutProse removes the text of comments, except of lines that can be uncommented. Of a comment of several lines it
// keeps one.
func withoutProse(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); !uncommentable.MatchString(line) {
			line = prose.ReplaceAllString(line, "$1#")
		}
		lines = append(lines, line)
	}
	return strings.Join(slices.CompactFunc(lines, func(a, b string) bool {
		return a == b && strings.HasSuffix(a, "#")
	}), "\n")
}
