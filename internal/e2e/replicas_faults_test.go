//go:build replicas

package e2e

import (
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// replicaTest disturbs exporters that share a database, and the database. Each exporter has a proxy of its own and two
// scrapers. One in four responses is not billed.
//
// A lease lasts long. So when its holder is dead, or was frozen for so long that it will not send what it has recorded,
// the test ends it in the database, as if the time had passed.
type replicaTest struct {
	t        *testing.T
	db       *pgtest.Server
	admin    *sql.DB
	api      *recorder
	replicas []*replica
	limit    int
	tight    bool // whether the limit is below what is wanted
	started  time.Time
	midnight time.Time // end of the quota day
	seen     sightings

	stopScrapers func()

	full   bool           // whether the disk of the database is full
	later  []task         // what the test has to do
	next   []int          // the next faults
	faults map[string]int // number of faults by name
}

// task is something to do at a moment.
type task struct {
	at time.Time
	do func()
}

// newReplicaTest starts exporters that reach their database at a port. budget is the share of the wanted requests that
// the daily limit allows until the end of the test.
func newReplicaTest(t *testing.T, db *pgtest.Server, port, replicas int, budget float64, events int) *replicaTest {
	t.Helper()
	f := &replicaTest{t: t, db: db, api: newRecorder(t), faults: make(map[string]int), started: time.Now()}
	f.api.unbilledEvery, f.tight = 4, budget < 0.5 // about half of the wanted requests are not possible
	f.prepareDatabase()
	duration := time.Duration(events)*slot + 15*time.Second
	f.midnight = time.Now().Add(duration).Truncate(time.Second)
	f.limit = int(budget * replicaUsers * duration.Seconds() / replicaInterval.Seconds() * 3 / 4)
	zone, variable := endingZone(t, f.midnight)
	config := f.api.writeConfig(t, "max_requests_per_second: 60, max_concurrency: 8, balance_interval: 4s",
		fmt.Sprintf("min_interval: 4s, retry_interval: 4s, daily_limit: %d, time_zone: %s", f.limit, zone), replicaUsers)
	var scrapers sync.WaitGroup
	stop := make(chan struct{})
	f.stopScrapers = sync.OnceFunc(func() {
		close(stop)
		scrapers.Wait()
	})
	t.Cleanup(f.stopScrapers)
	for range replicas {
		proxy := startProxy(t, fmt.Sprintf("127.0.0.1:%d", port))
		r := &replica{proxy: proxy, t: t}
		r.command = []string{"--config.file=" + config, "--web.listen-address=127.0.0.1:0",
			"--storage.url=" + pgtest.URL("exporter", proxy.port(), "postgres")}
		r.env = append(os.Environ(), "PGPASSWORD="+pgtest.Password, variable)
		f.replicas = append(f.replicas, r)
		for _, timeout := range []time.Duration{3 * time.Second, 10 * time.Second} {
			scrapers.Go(func() { r.scrapeUntil(stop, timeout, &f.seen, f.api) })
		}
	}
	return f
}

// prepareDatabase creates the role of the exporters, and opens a connection for the test.
func (f *replicaTest) prepareDatabase() {
	f.t.Helper()
	f.db.Exec("postgres", fmt.Sprintf("CREATE ROLE exporter LOGIN PASSWORD '%s'", pgtest.Password))
	f.db.Exec("postgres", "GRANT CREATE ON SCHEMA public TO exporter")
	config, err := pq.NewConfig(f.db.URL("postgres"))
	if err != nil {
		f.t.Fatal(err)
	}
	config.Password, config.Options = pgtest.Password, "-c lock_timeout=200ms"
	connector, err := pq.NewConnectorConfig(config)
	if err != nil {
		f.t.Fatal(err)
	}
	f.admin = sql.OpenDB(connector)
	f.t.Cleanup(func() { f.admin.Close() }) //nolint:errcheck // its connection may be broken
}

// run makes a number of faults, one after another; some last longer than until the next one.
func (f *replicaTest) run(events int) {
	f.wait(5 * time.Second)
	for range events {
		f.wait(rand.N(2 * slot))
		f.disturb()
	}
	f.heal()
}

// wait does what is to be done meanwhile.
func (f *replicaTest) wait(d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(50 * time.Millisecond) {
		f.later = slices.DeleteFunc(f.later, func(task task) bool {
			due := !time.Now().Before(task.at)
			if due {
				task.do()
			}
			return due
		})
		for _, r := range f.replicas {
			r.tend()
		}
		f.endLease()
		if !time.Now().Before(end) {
			return
		}
	}
}

// after does something after a while, or when the test heals everything.
func (f *replicaTest) after(d time.Duration, do func()) {
	f.later = append(f.later, task{time.Now().Add(d), do})
}

// heal ends all faults.
func (f *replicaTest) heal() {
	for _, task := range f.later {
		task.do()
	}
	f.later = nil
}

// endLease ends the lease of a holder that cannot use it any more.
func (f *replicaTest) endLease() {
	const query = "SELECT holder FROM bilibili_exporter_lease WHERE until > clock_timestamp()"
	var holder string
	if f.admin.QueryRow(query).Scan(&holder) != nil || f.canUse(holder) {
		return
	}
	f.admin.Exec(expireLease+" WHERE holder = $1", holder) //nolint:errcheck // the next attempt follows soon
}

// canUse reports whether the holder of the lease may still send requests.
func (f *replicaTest) canUse(holder string) bool {
	r := f.holder(holder)
	return r != nil && (r.frozen.IsZero() || time.Since(r.frozen) < quota.MaxSendDelay+time.Second)
}

// holder returns the replica with a name; nil if it has exited.
func (f *replicaTest) holder(name string) *replica {
	for _, r := range f.replicas {
		if r.process != nil && holderName(r.process) == name {
			if _, exited := r.process.Exited(); !exited {
				return r
			}
		}
	}
	return nil
}

// disturb makes a random fault; all kinds are as frequent. Every second one concerns the active replica.
func (f *replicaTest) disturb() {
	r := f.replicas[rand.IntN(len(f.replicas))]
	var name string
	if f.admin.QueryRow("SELECT holder FROM bilibili_exporter_lease").Scan(&name) == nil && rand.IntN(2) == 0 {
		r = cmp.Or(f.holder(name), r)
	}
	faults := []struct {
		name string
		make func(*replica) bool // reports whether the fault was possible
	}{
		{"SIGKILL", f.kill}, {"SIGTERM", f.terminate}, {"SIGSTOP", f.freeze}, {"cut connections", f.cut},
		{"lost packets", f.block}, {"database restarted", f.restartDatabase}, {"database read-only", f.revoke},
		{"database locked", f.lock}, {"disk full", f.fill},
	}
	for {
		if len(f.next) == 0 {
			f.next = rand.Perm(len(faults))
		}
		fault := faults[f.next[0]]
		f.next = f.next[1:]
		if fault.make(r) {
			f.faults[fault.name]++
			return
		}
	}
}

func (f *replicaTest) kill(r *replica) bool { return r.end(syscall.SIGKILL) }

func (f *replicaTest) terminate(r *replica) bool { return r.frozen.IsZero() && r.end(syscall.SIGTERM) }

func (f *replicaTest) freeze(r *replica) bool {
	process := r.process
	if !r.freeze() {
		return false
	}
	f.after(5*time.Second+rand.N(25*time.Second), func() { r.thaw(process) })
	return true
}

func (f *replicaTest) cut(r *replica) bool {
	r.proxy.cut()
	return true
}

func (f *replicaTest) block(r *replica) bool {
	r.proxy.block(true)
	f.after(time.Second+rand.N(15*time.Second), func() { r.proxy.block(false) })
	return true
}

func (f *replicaTest) restartDatabase(*replica) bool {
	if f.full {
		return false
	}
	f.db.Restart()
	return true
}

// revoke makes the database read-only for the exporters.
func (f *replicaTest) revoke(*replica) bool {
	if f.full {
		return false
	}
	const tables = " INSERT, UPDATE, DELETE ON bilibili_exporter_records, bilibili_exporter_lease "
	f.db.Exec("postgres", "REVOKE"+tables+"FROM exporter")
	f.after(time.Second+rand.N(5*time.Second), func() { f.db.Exec("postgres", "GRANT"+tables+"TO exporter") })
	return true
}

// lock keeps the lease locked, as a frozen replica or a backup does.
func (f *replicaTest) lock(*replica) bool {
	tx, err := f.admin.Begin()
	if err != nil {
		return false
	}
	if _, err := tx.Exec("LOCK TABLE bilibili_exporter_lease"); err != nil {
		tx.Rollback() //nolint:errcheck // the first error counts
		return false
	}
	f.after(time.Second+rand.N(5*time.Second), func() { tx.Rollback() }) //nolint:errcheck // or it has ended already
	return true
}

// fill fills the disk of the database, which fails to extend its tables, and stops when it needs a new file for its
// log. Other faults end before, as they need the database to end.
func (f *replicaTest) fill(*replica) bool {
	if f.full {
		return false
	}
	f.heal()
	f.full = true
	free := f.db.Fill()
	f.admin.Exec("SELECT pg_switch_wal()") //nolint:errcheck // the next one fails
	f.after(time.Second+rand.N(5*time.Second), func() {
		free()
		f.full = false
	})
	return true
}

// check checks what the exporters promise.
func (f *replicaTest) check() {
	f.t.Helper()
	f.wait(time.Until(f.midnight))
	await(f.t, time.Minute, "the values of all replicas are the same", func() bool {
		f.wait(time.Second)
		return f.same()
	})
	f.stopScrapers()
	var term int
	if err := f.admin.QueryRow("SELECT term FROM bilibili_exporter_lease").Scan(&term); err != nil {
		f.t.Error(err)
	}
	f.checkIntervals()
	f.checkBudget()
	f.seen.report(f.t)
	f.t.Logf("%d takeovers; faults: %v", term-1, f.faults)
}

// same reports whether one replica is active and all show the same values.
func (f *replicaTest) same() bool {
	active := 0.0
	var shown []string
	for _, r := range f.replicas {
		if address, _, calm := r.look(); calm {
			body := exportertest.Get(f.t, scraper, "http://"+address+"/metrics")
			active += sample(f.t, body, activeMetric)
			shown = append(shown, fmt.Sprint(samplesWith(body, followers), samplesWith(body, "bilibili_last_success")))
		}
	}
	return active == 1 && len(shown) == len(f.replicas) && len(slices.Compact(shown)) == 1 &&
		strings.Contains(shown[0], followers)
}

// checkIntervals checks that no user was requested again within the interval.
func (f *replicaTest) checkIntervals() {
	f.t.Helper()
	f.api.mu.Lock()
	defer f.api.mu.Unlock()
	// The interval of the balance is counted from its record, which can take a while.
	if got, most := len(f.api.balances), int(time.Since(f.started)/replicaInterval)+1; got > most {
		f.t.Errorf("got %d requests for the balance, want at most %d", got, most)
	}
	shortest := time.Hour
	for wmid, arrivals := range f.api.arrivals {
		gap := leastGap(arrivals)
		if gap < replicaInterval-jitter {
			f.t.Errorf("user %d was requested again after %v", wmid, gap)
		}
		shortest = min(shortest, gap)
	}
	f.t.Logf("%d requests for the balance; the shortest time between two for a user was %v, the interval is %v",
		len(f.api.balances), shortest, replicaInterval)
}

// leastGap returns the shortest time between two requests.
func leastGap(arrivals []arrival) time.Duration {
	billed, unbilled := shortestGap(arrivals)
	return min(billed, unbilled)
}

// checkBudget checks that the vendor has counted no more requests in the quota day than the budget allows.
func (f *replicaTest) checkBudget() {
	f.t.Helper()
	all, counted := f.api.countUntil(f.midnight)
	if counted > f.limit {
		f.t.Errorf("the vendor counts %d requests, with a budget of %d", counted, f.limit)
	}
	if f.tight && counted < f.limit/2 {
		f.t.Errorf("the vendor counts only %d requests, so the test proves nothing about the budget of %d", counted, f.limit)
	}
	f.t.Logf("%d requests, of which the vendor counts %d; the budget is %d", all, counted, f.limit)
}
