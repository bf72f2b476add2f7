//go:build replicas

package e2e

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

var events = flag.Int("events", 25, "number of faults in each test of replicas")

const (
	// slot is the time from one fault to the next.
	slot = 3 * time.Second
	// jitter is how much the time from sending a request to its arrival varies on a busy machine. A request that is
	// repeated after a takeover would arrive within a fraction of the interval.
	jitter = time.Second
	// replicaInterval is the minimum interval of users.
	replicaInterval = 4 * time.Second
	replicaUsers    = 12
)

// TestReplicas disturbs two and three exporters over one database. The two have less of a budget than they could use.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		replicas int
		budget   float64 // share of the requests that are wanted
	}{{2, 0.3}, {3, 2}} {
		t.Run(fmt.Sprint(test.replicas), func(t *testing.T) {
			t.Parallel()
			db := pgtest.StartSmall(t)
			f := newReplicaTest(t, db, db.Port, test.replicas, test.budget, *events)
			f.run(*events)
			f.check()
		})
	}
}

// TestPgbouncer does so through pgbouncer in transaction mode, which passes a transaction to any of its connections.
func TestPgbouncer(t *testing.T) {
	t.Parallel()
	db := pgtest.StartSmall(t)
	f := newReplicaTest(t, db, startPgbouncer(t, db.Port), 2, 1, *events/3)
	f.run(*events / 3)
	f.check()
}

// endingZone writes a time zone in which a quota day ends at a moment. It returns the time zone's name and the variable
// of the environment with which the exporter finds it.
func endingZone(t *testing.T, at time.Time) (name, variable string) {
	t.Helper()
	const day = 24 * 60 * 60
	offset := int32(day - at.Unix()%day)
	zone := append([]byte("TZif"), make([]byte, 16)...) // version 1
	for _, count := range []uint32{0, 0, 0, 0, 1, 4} {  // one offset, and four bytes of names
		zone = binary.BigEndian.AppendUint32(zone, count)
	}
	zone = binary.BigEndian.AppendUint32(zone, uint32(offset))
	zone = append(zone, 0, 0)
	zone = append(zone, "TST\x00"...)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Test"), zone, 0o600); err != nil {
		t.Fatal(err)
	}
	return "Test", "ZONEINFO=" + dir
}
