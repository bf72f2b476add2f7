package server

import (
	"context"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

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
	logger   log.Logger
	failure  failure // of the latest write
}

// openStorage opens the store in a folder; with an empty path, none.
func openStorage(path string, logger log.Logger) (*storage, error) {
	s := &storage{logger: logger, errors: prometheus.NewCounterVec(prometheus.CounterOpts{
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
	s.store, s.contents, err = store.Open(store.Config{Dir: path, IfLost: quota.LostRecords(), OnError: s.failed, OnRecovery: s.recovered})
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

// failed counts a failure, and tells of it when it begins and when it changes.
// A damaged file is told of when another is there.
func (s *storage) failed(operation string, err error) {
	s.errors.WithLabelValues(operation).Inc()
	if operation == store.OperationWrite && s.failure.set(err.Error()) != err.Error() {
		level.Error(s.logger).Log("msg", "The state is not on disk: a restart would ask, and pay, again", "err", err)
	}
}

// recovered tells that what was missing has been written.
func (s *storage) recovered() {
	s.failure.set("")
	level.Info(s.logger).Log("msg", "The state is written to disk again, and nothing is missing")
}

// close closes the store, if the disk lets it.
func (s *storage) close() {
	if s.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.store.Close(ctx)
	}
}
