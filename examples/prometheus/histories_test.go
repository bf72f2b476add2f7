//go:build rules

package prometheus

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var histories = flag.Uint64("histories", 1, "number of random histories of each interval that TestHistories compares")

// TestHistories compares when alerts fire in random histories. An engine may be one evaluation ahead of another.
func TestHistories(t *testing.T) {
	fired := map[string]bool{}
	for seed := range *histories {
		for interval, length := range map[time.Duration]time.Duration{
			time.Minute: 10 * time.Hour, 15 * time.Minute: 5 * 24 * time.Hour,
		} {
			t.Run(fmt.Sprintf("%d every %v", seed, interval), func(t *testing.T) {
				for alert := range compareEngines(t, randomHistory(seed, interval, length)) {
					fired[alertname.FindStringSubmatch(alert)[1]] = true
				}
			})
		}
	}
	for _, rule := range exportertest.Rules(t) {
		if rule.Alert != "" && !fired[rule.Alert] {
			t.Errorf("%s has not fired", rule.Alert)
		}
	}
}

var (
	alertname = regexp.MustCompile(`alertname="(\w+)"`)
	result    = regexp.MustCompile(`time: (\S+),\s+exp: nil\s+got: (.*)`)
	labelSet  = regexp.MustCompile(`\{(.*?)\}`)
)

// firing contains the evaluations at which an alert, given by its labels, fires.
type firing map[string]map[time.Duration]bool

// compareEngines lets each engine evaluate the rules over a history, and returns the alerts of the first one.
func compareEngines(t *testing.T, h *history) firing {
	t.Helper()
	file, all := h.test(t), engines(t)
	outputs := make([]string, len(all))
	var group sync.WaitGroup
	for i, engine := range all {
		group.Go(func() { outputs[i], _ = engine.test(t, file) }) // it fails, because the test expects that nothing fires
	}
	group.Wait()
	first := parseFiring(t, outputs[0])
	for i, engine := range all {
		got := parseFiring(t, outputs[i])
		if len(got) == 0 {
			t.Fatalf("%s: no alert fires:\n%s", engine.name, outputs[i])
		}
		got.covers(t, first, h.interval, all[0].name+" but not "+engine.name)
		first.covers(t, got, h.interval, engine.name+" but not "+all[0].name)
	}
	return first
}

// parseFiring reads the failures that an engine reports.
func parseFiring(t *testing.T, output string) firing {
	t.Helper()
	all := firing{}
	for _, match := range result.FindAllStringSubmatch(output, -1) {
		at := parseDuration(t, match[1])
		for _, alert := range labelSet.FindAllStringSubmatch(match[2], -1) {
			labels := strings.Split(strings.ReplaceAll(alert[1], ", ", ","), ",")
			slices.Sort(labels)
			key := strings.Join(labels, ",")
			if all[key] == nil {
				all[key] = map[time.Duration]bool{}
			}
			all[key][at] = true
		}
	}
	return all
}

// covers checks that another engine fires no alert that this one does not fire in the evaluation before or after.
func (f firing) covers(t *testing.T, other firing, interval time.Duration, which string) {
	t.Helper()
	for alert, times := range other {
		var alone []time.Duration
		for at := range times {
			if !f[alert][at] && !f[alert][at-interval] && !f[alert][at+interval] {
				alone = append(alone, at)
			}
		}
		if len(alone) > 0 {
			slices.Sort(alone)
			t.Errorf("%s fires %s at %v", which, alert, alone)
		}
	}
}

// test writes a test of rules for which each evaluation of the history at which an alert fires is a failure.
func (h *history) test(t *testing.T) string {
	t.Helper()
	const groups = "bilibili-recording, bilibili-changes, " +
		"bilibili-creators, bilibili-users, bilibili-account, bilibili-exporter"
	const firing = `count without (alertgroup, alertstate, severity) (ALERTS{alertstate="firing"})`
	var text strings.Builder
	fmt.Fprintf(&text, "rule_files: [%s]\nevaluation_interval: %v\ngroup_eval_order: [%s]\n",
		strings.Join(absolute(t, "recording.yml", "alerts.yml"), ", "), h.interval, groups)
	fmt.Fprintf(&text, "tests:\n  - interval: %v\n    input_series:\n%s", h.interval, h.inputSeries())
	text.WriteString("    promql_expr_test:\n")
	for step := range h.step {
		at := time.Duration(step) * h.interval
		fmt.Fprintf(&text, "      - {expr: '%s', eval_time: %v, exp_samples: []}\n", firing, at)
	}
	return exportertest.WriteFile(t, "history.yml", text.String())
}
