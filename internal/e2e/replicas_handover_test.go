//go:build replicas

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// leaseTime is how long the lease of an exporter lasts that has disappeared.
const leaseTime = 150 * time.Second

// TestHandOver stops the active replica with SIGTERM: the other one is active at its next scrape, with the same values,
// and requests nobody again within the interval.
func TestHandOver(t *testing.T) {
	t.Parallel()
	db, api := pgtest.Start(t), newRecorder(t)
	config := api.writeConfig(t, "", "min_interval: 1h", 3)
	first := startReplica(t, config, db.URL("postgres"))
	before := scrape(t, first)
	second := startReplica(t, config, db.URL("postgres"))
	standby := scrape(t, second)
	expectSame(t, before, standby)
	if sample(t, before, activeMetric) != 1 || sample(t, standby, activeMetric) != 0 {
		t.Error("want the first replica to be active, and the second one to be on standby")
	}
	second.Await(`msg="This replica is on (standby)" active_replica=` + holderName(first))
	if status, took := first.End(syscall.SIGTERM); status != 0 || took > 5*time.Second {
		t.Errorf("the first replica exited with status %d after %v", status, took)
	}
	after := scrape(t, second)
	expectSame(t, before, after)
	if sample(t, after, activeMetric) != 1 {
		t.Error("the second replica is not active at its next scrape")
	}
	first.Await(`msg="(This replica is active)"`)
	second.Await(`msg="(This replica is active)"`)
	if strings.Contains(second.Log(), "interrupted") || strings.Contains(first.Log()+second.Log(), "level=error") {
		t.Errorf("got logs\n%s%s", first.Log(), second.Log())
	}
	if got := api.requests(); got != 3 {
		t.Errorf("got %d requests, want 3", got)
	}
}

// expectSame expects the same values in the metrics of two exporters.
func expectSame(t *testing.T, want, got string) {
	t.Helper()
	for _, prefix := range []string{followers, "bilibili_following", "bilibili_last_success", usedMetric} {
		want, got := fmt.Sprint(samplesWith(want, prefix)), fmt.Sprint(samplesWith(got, prefix))
		if want != got || want == "map[]" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestLease lets an active replica disappear, and waits until its lease has expired: the other one is active at the
// next scrape, and not before. A replica that was frozen for that long sends nothing when it wakes up.
func TestLease(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			testLease(t, db, signal)
		})
	}
}

func testLease(t *testing.T, db *pgtest.Server, signal syscall.Signal) {
	api, namespace := newRecorder(t), fmt.Sprintf("--storage.namespace=%d", signal)
	config := api.writeConfig(t, "", "min_interval: 30s", 3)
	first := startReplica(t, config, db.URL("postgres"), namespace)
	second := startReplica(t, config, db.URL("postgres"), namespace)
	if !isActive(t, first) || isActive(t, second) {
		t.Fatal("want the first replica to be active")
	}
	renewed := time.Now()
	first.Signal(signal)
	await(t, leaseTime+5*time.Second, "the second replica is active", func() bool {
		time.Sleep(time.Second)
		return isActive(t, second)
	})
	took := time.Since(renewed)
	t.Logf("the second replica was active %v after the first one had renewed its lease", took)
	if took < leaseTime-5*time.Second {
		t.Error("it took the lease before that had expired")
	}
	if api.requests() != 6 {
		t.Errorf("got %d requests, want 3 of each replica", api.requests())
	}
	if signal == syscall.SIGSTOP {
		expectSuperseded(t, first, api)
	}
}

// expectSuperseded wakes up a frozen replica, and expects that it is on standby and sends nothing.
func expectSuperseded(t *testing.T, p *exportertest.Process, api *recorder) {
	t.Helper()
	requests := api.requests()
	p.Signal(syscall.SIGCONT)
	for range 5 {
		if isActive(t, p) {
			t.Error("two replicas are active")
		}
	}
	if api.requests() != requests {
		t.Error("the replica that woke up sends requests")
	}
	p.Await(`msg="This replica is on (standby)"`)
}
