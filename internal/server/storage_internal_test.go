package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
)

// takenDB is a database whose lease another replica has taken.
type takenDB struct{}

func (takenDB) Write(int64, map[string][]byte) error { return store.ErrSuperseded }

func (takenDB) Acquire() (store.Contents, store.Lease, error) {
	return store.Contents{Records: map[string][]byte{}, Term: 1}, store.Lease{}, nil
}

func (takenDB) Close(int64) error { return nil }

// TestLostLease loses the lease while a record is queued. That is logged, and is not a failure of the database:
// it is not counted, and no recovery follows.
func TestLostLease(t *testing.T) {
	var logged strings.Builder
	s := &storage{shared: true, logger: log.NewLogfmtLogger(&logged), errors: prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "errors_total", Help: "Errors."}, []string{"operation"})}
	s.store = store.OpenShared(takenDB{}, store.Config{OnError: s.failed, OnRecovery: s.recovered, OnLost: s.lost})
	if _, _, err := s.store.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := s.store.Put(1, map[string][]byte{"user/2": []byte("{}")})
	if err := put(context.Background()); !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("Put: got %v", err)
	}
	if _, _, err := s.store.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.close()
	want := `level=warn msg="Records not written, because another replica has become active" records=1 keys=user/2 ` +
		`advice="No action is needed: users whose requests were in flight wait for their interval."` + "\n"
	if got := logged.String(); got != want {
		t.Errorf("got log\n%swant\n%s", got, want)
	}
	if got := testutil.ToFloat64(s.errors.WithLabelValues(store.OperationWrite)); got != 0 {
		t.Errorf("got %v errors, want none", got)
	}
	if got := s.lastError.get(); got.Text != "" {
		t.Errorf("the status page shows %q", got.Text)
	}
}
