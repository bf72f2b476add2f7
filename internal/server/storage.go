package server

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

// closeTimeout is how long shutdown waits for the last write.
const closeTimeout = 2 * time.Second

// maxKeys is how many keys of lost records a log message contains.
const maxKeys = 10

// storage is the store, its metrics and its log messages. It is a [refresh.Leader].
type storage struct {
	store     *store.Store // nil if persistence is disabled
	shared    bool
	errors    *prometheus.CounterVec
	active    prometheus.GaugeFunc
	logger    log.Logger
	lastError lastError      // of reading or writing
	damage    *status.Damage // at startup; nil if there was none

	// zone returns the zone of the quota day, for log messages. It is set before the first scrape.
	zone func() *time.Location

	mu   sync.Mutex // protects the following field
	role string     // that was logged last
}

// openStorage opens the store and returns its records.
func openStorage(options Options) (*storage, store.Contents, error) {
	s := &storage{logger: options.Logger, shared: options.StorageURL != "", errors: prometheus.NewCounterVec(
		prometheus.CounterOpts{
			Name: "bilibili_storage_errors_total",
			Help: "Failed reads and writes of the persistent state.",
		}, []string{"operation"})}
	for _, operation := range []string{store.OperationRead, store.OperationWrite} {
		s.errors.WithLabelValues(operation)
	}
	s.active = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bilibili_exporter_active",
		Help: "Whether this replica sends requests (1) or is on standby (0); always 1 without shared storage.",
	}, func() float64 {
		if s.replica().Active {
			return 1
		}
		return 0
	})
	if options.StoragePath == "" && !s.shared {
		if !options.Demo {
			level.Warn(s.logger).Log("msg", "Persistence disabled",
				"advice", "Set --storage.path: without it, a restart requests all users again, which may be billed.")
		}
		return s, store.Contents{}, nil
	}
	opened, contents, err := store.Open(store.Config{
		Dir: options.StoragePath, URL: options.StorageURL, Namespace: options.StorageNamespace, Holder: replicaName(),
		IfLost: quota.LostRecords(), OnError: s.failed, OnRecovery: s.recovered, OnLost: s.lost,
	})
	if err != nil {
		flag := "--storage.path"
		if s.shared {
			flag = "--storage.url"
		}
		return nil, store.Contents{}, fmt.Errorf("%s: %w", flag, err)
	}
	s.store = opened
	if s.shared {
		level.Info(s.logger).Log("msg", "Opened shared storage", "namespace", options.StorageNamespace,
			"replica", replicaName(), "records", len(contents.Records))
	} else {
		level.Info(s.logger).Log("msg", "Opened storage", "path", options.StoragePath, "records", len(contents.Records))
		s.checkMode(options.StoragePath)
	}
	if contents.Damage != nil {
		s.damage = &status.Damage{Error: contents.Damage.Error(), RenamedTo: contents.RenamedTo}
		level.Error(s.logger).Log("msg", "Persistent state is damaged and was renamed",
			"renamed_to", contents.RenamedTo, "err", contents.Damage,
			"advice", "All users are requested again, and the elapsed share of the day's budget counts as used.")
	}
	return s, contents, nil
}

// checkMode warns about a directory that other users may use. One that was created for the exporter has mode 0700. The
// setgid bit says that a directory is shared with a group on purpose; Kubernetes sets it for fsGroup.
func (s *storage) checkMode(dir string) {
	info, err := os.Stat(dir)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 || info.Mode()&os.ModeSetgid != 0 {
		return
	}
	level.Warn(s.logger).Log("msg", "Storage directory is open to other users", "path", dir,
		"mode", fmt.Sprintf("%04o", info.Mode().Perm()),
		"advice", "Run chmod 0700 on it, unless it is shared on purpose. Others cannot read the state, but who can write "+
			"to the directory can delete or replace it.")
}

// replicaName names this process among the replicas.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// replica is the part that this process has among the replicas.
type replica struct {
	Active bool
	store.Lease
}

func (s *storage) replica() replica {
	if s.store == nil {
		return replica{Active: true}
	}
	active, lease := s.store.Lease()
	return replica{active, lease}
}

// statusReplica returns the replica for the status page; nil without shared storage.
func (s *storage) statusReplica() *status.Replica {
	if !s.shared {
		return nil
	}
	r := s.replica()
	shown := &status.Replica{
		Name: replicaName(), Active: r.Active, Since: r.Since,
		Holder: r.Holder, Held: r.Held && r.Holder != replicaName(), // not its own, which it could not renew
	}
	if r.Refused != nil {
		shown.Refused = r.Refused.Error()
	}
	return shown
}

// Lead implements [refresh.Leader].
func (s *storage) Lead(ctx context.Context) (records map[string][]byte, term int64, err error) {
	records, term, err = s.store.Lead(ctx)
	if s.shared && err == nil {
		s.logRole(s.replica())
	}
	return records, term, err
}

// logRole logs whether this replica is active, if that has changed.
func (s *storage) logRole(r replica) {
	role := "active"
	switch {
	case r.Active:
	case r.Refused != nil:
		role = "refused"
	default:
		role = "standby of " + r.Holder
	}
	s.mu.Lock()
	changed := role != s.role
	s.role = role
	s.mu.Unlock()
	switch {
	case !changed || !r.Active && r.Refused == nil && r.Holder == "": // two replicas take the first lease
	case r.Active:
		level.Info(s.logger).Log("msg", "This replica is active")
	case r.Refused != nil:
		level.Error(s.logger).Log("msg", "This replica cannot become active", "err", r.Refused)
	default:
		level.Info(s.logger).Log("msg", "This replica is on standby", "active_replica", r.Holder,
			"active_since", r.Since.In(s.zone()).Format(time.RFC3339))
	}
}

// failed counts an error, and logs it if it differs from the previous one. [openStorage] logs damage.
func (s *storage) failed(operation string, err error) {
	s.errors.WithLabelValues(operation).Inc()
	if s.store != nil && s.lastError.set(err.Error()) != err.Error() {
		msg := map[string]string{
			store.OperationRead:  "Error reading persistent state",
			store.OperationWrite: "Error writing persistent state",
		}[operation]
		level.Error(s.logger).Log("msg", msg, "err", err, "advice", s.advice())
	}
}

// advice returns what to do about a failing store.
func (s *storage) advice() string {
	if s.shared {
		return "No request is sent until the database can be used."
	}
	return "Check the disk: a restart would request users again, which may be billed."
}

// lost logs records that are not written, because another replica has taken the lease. The store works.
func (s *storage) lost(keys []string) {
	level.Warn(s.logger).Log("msg", "Records not written, because another replica has become active",
		"records", len(keys), "keys", strings.Join(keys[:min(maxKeys, len(keys))], ", "),
		"advice", "No action is needed: users whose requests were in flight wait for their interval.")
}

// recovered logs that the store works again after an error.
func (s *storage) recovered() {
	s.lastError.set("")
	level.Info(s.logger).Log("msg", "Persistent state recovered")
}

// close closes the store, unless that takes too long.
func (s *storage) close() {
	if s.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.store.Close(ctx)
	}
}
