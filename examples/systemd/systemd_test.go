package systemd

import (
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestUnit compares the unit with the exporter.
func TestUnit(t *testing.T) {
	const path = "examples/systemd/bilibili_exporter.service"
	find := func(pattern string) string { return exportertest.Find(t, path, pattern) }
	command := find(`ExecStart=(.*)`)
	program, args, _ := strings.Cut(strings.TrimSuffix(command, " $ARGS"), " ")
	exportertest.ExpectArgs(t, strings.Fields(args), "--config.file=/etc/bilibili_exporter/bilibili_exporter.yml")
	check := program + " --config.check"
	if got, want := find(`ExecStartPre=(.*)`), strings.Replace(command, program, check, 1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := find(`WorkingDirectory=(.*)`), "/var/lib/"+find(`StateDirectory=(.*)`); got != want {
		t.Errorf("the service runs in %s, want %s, where it can write", got, want)
	}
	timeout, err := time.ParseDuration(find(`TimeoutStopSec=(\d+)`) + "s")
	if err != nil {
		t.Fatal(err)
	}
	exportertest.ExpectStopTimeout(t, timeout)
}
