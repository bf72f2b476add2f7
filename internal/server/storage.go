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

// closeTimeout is how long shutdown waits for the last write.
const closeTimeout = 2 * time.Second

// storage is the store, its metrics and its log messages.
type storage struct {
	store     *store.Store // nil if persistence is disabled
	errors    *prometheus.CounterVec
	logger    log.Logger
	lastError lastError // of writing
}

// openStorage opens the store in a directory and returns its records. An empty path disables persistence.
func openStorage(path string, logger log.Logger) (*storage, map[string][]byte, error) {
	s := &storage{logger: logger, errors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bilibili_storage_errors_total",
		Help: "Failed reads and writes of the persistent state.",
	}, []string{"operation"})}
	for _, operation := range []string{store.OperationRead, store.OperationWrite} {
		s.errors.WithLabelValues(operation)
	}
	if path == "" {
		level.Warn(logger).Log("msg", "Persistence disabled: a restart requests all users again")
		return s, nil, nil
	}
	opened, contents, err := store.Open(store.Config{
		Dir: path, IfLost: quota.LostRecords(), OnError: s.failed, OnRecovery: s.recovered,
	})
	if err != nil {
		return nil, nil, err
	}
	s.store = opened
	level.Info(logger).Log("msg", "Opened storage", "path", path, "records", len(contents.Records))
	if contents.SetAside != "" {
		level.Error(logger).Log("msg", "Persistent state is damaged and was renamed",
			"renamed_to", contents.SetAside, "err", contents.Damage,
			"advice", "All users are requested again, and the elapsed share of the day's budget counts as used.")
	}
	return s, contents.Records, nil
}

// failed counts an error, and logs it if it differs from the previous one. [openStorage] logs damage.
func (s *storage) failed(operation string, err error) {
	s.errors.WithLabelValues(operation).Inc()
	if operation == store.OperationWrite && s.lastError.set(err.Error()) != err.Error() {
		level.Error(s.logger).Log("msg", "Error writing persistent state", "err", err,
			"advice", "Check the disk: a restart would request users again, which may be billed.")
	}
}

// recovered logs that everything has been written after an error.
func (s *storage) recovered() {
	s.lastError.set("")
	level.Info(s.logger).Log("msg", "Writing persistent state recovered")
}

// close closes the store, unless that takes too long.
func (s *storage) close() {
	if s.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.store.Close(ctx)
	}
}
