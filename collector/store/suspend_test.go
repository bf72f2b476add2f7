package store

import (
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// leaseDB is a database whose lease is free.
type leaseDB struct{ SharedDatabase }

func (leaseDB) Write(int64, map[string][]byte) error { return nil }

func (leaseDB) Acquire() (Contents, Lease, error) {
	return Contents{Records: records(), Term: 1}, Lease{}, nil
}

func (leaseDB) Close(int64) error { return nil }

// TestLeaseByBothClocks lets a lease expire while the machine is suspended, which stops the monotonic clock, and with a
// wall clock that is set back.
func TestLeaseByBothClocks(t *testing.T) {
	for name, term := range map[string]int64{"taken": 0, "renewed": 1} {
		for wallClock, age := range map[time.Duration]time.Duration{leaseTime: 0, -time.Hour: leaseTime} {
			s := newStore(Config{OnError: new(problems).add}, leaseDB{}, term, Lease{})
			if _, got, err := s.Lead(t.Context()); got != 1 || err != nil {
				t.Errorf("%s: got term %d and error %v, want term 1", name, got, err)
			}
			if active, _ := s.Lease(); !active {
				t.Errorf("%s: not active at first", name)
			}
			s.mu.Lock()
			s.renewed = justoneapitest.Skew(s.renewed.Add(-age), -wallClock)
			s.mu.Unlock()
			if active, _ := s.Lease(); active {
				t.Errorf("%s, wall clock set by %v, %v later: still active", name, wallClock, age)
			}
			s.Close(t.Context())
		}
	}
}
