package store

import "testing"

// leaseDB is a database whose lease is free.
type leaseDB struct{ SharedDatabase }

func (leaseDB) Write(int64, map[string][]byte) error { return nil }

func (leaseDB) Acquire() (Contents, Lease, error) {
	return Contents{Records: records(), Term: 1}, Lease{}, nil
}

func (leaseDB) Close(int64) error { return nil }

// TestLeaseWhileSuspended takes and renews a lease. Its time is that of the wall clock, because the monotonic clock
// stops while the machine is suspended, so a replica would report to be active for too long afterwards.
func TestLeaseWhileSuspended(t *testing.T) {
	for name, term := range map[string]int64{"taken": 0, "renewed": 1} {
		s := newStore(Config{OnError: new(problems).add}, leaseDB{}, term, Lease{})
		if _, got, err := s.Lead(t.Context()); got != 1 || err != nil {
			t.Errorf("%s: got term %d and error %v, want term 1", name, got, err)
		}
		s.mu.Lock()
		got := s.renewed
		s.mu.Unlock()
		if got.IsZero() || got != got.Round(0) {
			t.Errorf("%s: got %v, want a time without a monotonic reading", name, got)
		}
		s.Close(t.Context())
	}
}
