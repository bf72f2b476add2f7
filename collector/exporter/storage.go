package exporter

import (
	"context"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
)

// closeTimeout is how long an end waits for the disk.
const closeTimeout = 2 * time.Second

// storage is the store, if there is one, and what it held at the start.
type storage struct {
	store    *store.Store // nil if nothing is kept
	contents store.Contents
	errors   *prometheus.CounterVec
}

// openStorage opens the store in a folder; with an empty path, none.
func openStorage(path string, logger log.Logger) (*storage, error) {
	s := &storage{errors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bilibili_storage_errors_total",
		Help: "Failed reads and writes of the stored state.",
	}, []string{"operation"})}
	for _, operation := range []string{store.OperationRead, store.OperationWrite} {
		s.errors.WithLabelValues(operation)
	}
	if path == "" {
		level.Warn(logger).Log("msg", "Nothing is kept on disk: a restart will ask, and pay, again for every user, and not know what the day's budget has left")
		return s, nil
	}
	var err error
	sometimes := rate.Sometimes{Interval: time.Minute} // a full disk fails at every call
	s.store, s.contents, err = store.Open(store.Config{Dir: path, IfLost: quota.LostRecords(), OnError: func(operation string, err error) {
		s.errors.WithLabelValues(operation).Inc()
		sometimes.Do(func() {
			level.Error(logger).Log("msg", "The stored state failed; going on from memory", "operation", operation, "err", err)
		})
	}})
	if err != nil {
		return nil, err
	}
	level.Info(logger).Log("msg", "State is kept on disk", "path", path, "records", len(s.contents.Records))
	if s.contents.SetAside != "" {
		level.Error(logger).Log("msg", "The stored state is damaged and was set aside: every user will be asked about anew, and the elapsed share of the day's budget counts as used",
			"set_aside", s.contents.SetAside, "err", s.contents.Damage)
	}
	return s, nil
}

// close closes the store, if the disk lets it.
func (s *storage) close() {
	if s.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.store.Close(ctx)
	}
}
