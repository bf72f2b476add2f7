package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// problems collects what a store reports.
type problems struct {
	mu         sync.Mutex // protects the following fields
	list       []string
	lost       []string // keys
	recoveries int
}

func (p *problems) add(operation string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, fmt.Sprintf("%s: %v", operation, err))
}

func (p *problems) recovered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recoveries++
}

func (p *problems) lose(keys []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = append(p.lost, keys...)
}

func (p *problems) get() (list []string, recoveries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list), p.recoveries
}

// lost are the records of stores that replace a damaged one.
var lost = records("lost", "true")

func mustOpen(t *testing.T, config Config) (*Store, Contents, *problems) {
	t.Helper()
	reported := &problems{}
	config.OnError, config.OnRecovery, config.OnLost = reported.add, reported.recovered, reported.lose
	config.IfLost = lost
	s, contents, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return s, contents, reported
}

// mustPut stores records and waits for them.
func mustPut(t *testing.T, s *Store, changes map[string][]byte) {
	t.Helper()
	_, term, err := s.Lead(t.Context())
	if err == nil {
		err = s.Put(term, changes)(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func records(pairs ...string) map[string][]byte {
	m := make(map[string][]byte)
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = []byte(pair[1])
	}
	return m
}

func equal(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// suite are the tests that run on each engine, each with a new store.
var suite = map[string]func(t *testing.T, config Config){
	"Records":               testRecords,
	"ManyRecords":           testManyRecords,
	"Order":                 testOrder,
	"GroupCommit":           testGroupCommit,
	"WaitWithoutChanges":    testWaitWithoutChanges,
	"FailedWrites":          testFailedWrites,
	"PutDuringFailingWrite": testPutDuringFailingWrite,
	"BlockedEngine":         testBlockedEngine,
	"NewerFormat":           testNewerFormat,
}

// engines are the databases that the suite runs on. Each function prepares one, and returns a function that returns the
// configuration of a new store. The build tag replicas adds PostgreSQL.
var engines = map[string]func(t *testing.T) (newConfig func(t *testing.T) Config){
	"SQLite": func(*testing.T) func(t *testing.T) Config {
		return func(t *testing.T) Config {
			t.Helper()
			return Config{Dir: t.TempDir()}
		}
	},
}

func TestEngines(t *testing.T) {
	for engine, prepare := range engines {
		t.Run(engine, func(t *testing.T) {
			newConfig := prepare(t)
			for name, test := range suite {
				t.Run(name, func(t *testing.T) { test(t, newConfig(t)) })
			}
		})
	}
}

// hooked is a database whose writes a test intercepts.
type hooked struct {
	Database
	intercept func(write func() error) error
}

func (h *hooked) Write(term int64, changes map[string][]byte) error {
	return h.intercept(func() error { return h.Database.Write(term, changes) })
}

// hook makes a store call f instead of writing. It must not be in use yet.
func hook(s *Store, f func(write func() error) error) { s.db = &hooked{s.db, f} }

// mustHave opens a store again and checks its records.
func mustHave(t *testing.T, config Config, want map[string][]byte) {
	t.Helper()
	s, contents, reported := mustOpen(t, config)
	s.Close(t.Context())
	if list, _ := reported.get(); !equal(contents.Records, want) || len(list) > 0 {
		t.Errorf("got %q and reports %q, want %q", contents.Records, list, want)
	}
}

func testRecords(t *testing.T, config Config) {
	s, contents, _ := mustOpen(t, config)
	if len(contents.Records) > 0 || contents.RenamedTo != "" || contents.Damage != nil {
		t.Errorf("a new store contains %+v", contents)
	}
	want := records("a", "3", "empty", "", `quotes'"\`, `"'\`, "碧诗", `{"name":"碧诗"}`, "d", "only queued")
	mustPut(t, s, records("a", "1", "b", "2"))
	mustPut(t, s, want)
	mustPut(t, s, map[string][]byte{"a": []byte("3"), "b": nil, "none": nil})
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Put(term, records("d", "only queued", "e", "x"))
	s.Put(term, map[string][]byte{"e": nil})
	s.Close(t.Context()) // commits them
	s.Close(t.Context())
	mustHave(t, config, want)
}

// testManyRecords changes more records at once than one statement can.
func testManyRecords(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	want, gone := make(map[string][]byte), make(map[string][]byte)
	for i := range maxRows + 1 {
		want[fmt.Sprint("user/", i)] = userRecord(i, 0)
		gone[fmt.Sprint("gone/", i)] = nil
		want[fmt.Sprint("gone/", i)] = []byte("x")
	}
	mustPut(t, s, want)
	mustPut(t, s, gone)
	s.Close(t.Context())
	maps.DeleteFunc(want, func(key string, _ []byte) bool { return strings.HasPrefix(key, "gone/") })
	mustHave(t, config, want)
}

// testOrder puts in one order and waits in another. The last put wins.
func testOrder(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	putAll(t, s, term, func(i int) map[string][]byte { return records("key", fmt.Sprint(i)) })
	s.Close(t.Context())
	mustHave(t, config, records("key", "999"))
}

// testGroupCommit waits for many changes at once. They share one transaction.
func testGroupCommit(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	var writes atomic.Int32
	hook(s, func(write func() error) error { writes.Add(1); return write() })
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writes.Store(0)
	putAll(t, s, term, func(i int) map[string][]byte { return records(fmt.Sprint(i), "x") })
	s.Close(t.Context())
	if got := writes.Load(); got != 1 {
		t.Errorf("1000 changes that were queued together took %d transactions, want 1", got)
	}
}

// putAll puts 1000 changes in order and then waits for all of them at once.
func putAll(t *testing.T, s *Store, term int64, changes func(i int) map[string][]byte) {
	t.Helper()
	var waits []func(context.Context) error
	for i := range 1000 {
		waits = append(waits, s.Put(term, changes(i)))
	}
	var all sync.WaitGroup
	for _, wait := range waits {
		all.Go(func() {
			if err := wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// testWaitWithoutChanges waits for the changes of others.
func testWaitWithoutChanges(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	defer s.Close(t.Context())
	var writes atomic.Int32
	hook(s, func(write func() error) error { defer writes.Add(1); return write() })
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := writes.Load()
	for _, changes := range []map[string][]byte{nil, records("a", "1")} {
		s.Put(term, changes)
		err := s.Put(term, nil)(t.Context())
		if got, want := writes.Load()-before, int32(len(changes)); err != nil || got != want {
			t.Errorf("after %d changes, got %d writes, %v, want %d", len(changes), got, err, want)
		}
	}
}

// testFailedWrites has writes fail for a while. Only the shared store returns the errors, both report them, and changes
// are written when writing works again.
func testFailedWrites(t *testing.T, config Config) {
	s, _, reported := mustOpen(t, config)
	var failing atomic.Bool
	broken := errors.New("broken")
	hook(s, func(write func() error) error {
		if failing.Load() {
			return broken
		}
		return write()
	})
	mustPut(t, s, records("a", "1", "b", "1"))
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	var want error
	if s.shared != nil {
		want = broken
	}
	for _, changes := range []map[string][]byte{records("a", "2", "c", "2"), {"c": []byte("3"), "b": nil}} {
		if err := s.Put(term, changes)(t.Context()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if _, leadTerm, err := s.Lead(t.Context()); !errors.Is(err, want) || leadTerm != term {
		t.Errorf("Lead: got term %d, %v, want %d, %v", leadTerm, err, term, want)
	}
	if list, recoveries := reported.get(); len(list) < 2 || list[0] != "write: broken" || recoveries != 0 {
		t.Errorf("got reports %q and %d recoveries", list, recoveries)
	}
	failing.Store(false)
	if err := s.Put(term, records("d", "4"))(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close(t.Context())
	if _, recoveries := reported.get(); recoveries != 1 {
		t.Errorf("got %d recoveries, want 1", recoveries)
	}
	mustHave(t, config, records("a", "2", "c", "3", "d", "4"))
}

// testPutDuringFailingWrite puts while a write is failing. Newer changes win, and waiting without changes waits for the
// write in progress.
func testPutDuringFailingWrite(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	writing, proceed := make(chan struct{}), make(chan struct{})
	var term int64
	var fail atomic.Bool
	hook(s, func(write func() error) error {
		if !fail.CompareAndSwap(true, false) {
			return write()
		}
		close(writing)
		<-proceed
		return errors.New("broken")
	})
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	wait := s.Put(term, records("a", "old", "b", "old"))
	var all sync.WaitGroup
	all.Go(func() { wait(t.Context()) }) //nolint:errcheck // testFailedWrites checks it
	<-writing
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("end"))
	defer cancel()
	if err := s.Put(term, nil)(ctx); err == nil || err.Error() != "end" {
		t.Errorf("during a write, the wait returns %v before the context ends", err)
	}
	s.Put(term, records("a", "new"))
	close(proceed)
	all.Wait()
	s.Close(t.Context())
	mustHave(t, config, records("a", "new", "b", "old"))
}

// testBlockedEngine has an engine that does not respond. Callers return when their contexts end.
func testBlockedEngine(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	block, proceed := new(atomic.Bool), make(chan struct{})
	hook(s, func(write func() error) error {
		if block.Load() {
			<-proceed
		}
		return write()
	})
	_, term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	block.Store(true)
	cause := errors.New("end")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, cause)
	defer cancel()
	if err := s.Put(term, records("a", "1"))(ctx); !errors.Is(err, cause) {
		t.Errorf("Put: got %v", err)
	}
	if _, got, err := s.Lead(ctx); got != term || err != nil { // the lease was renewed a moment ago
		t.Errorf("Lead: got term %d, %v", got, err)
	}
	s.Close(ctx) // returns early
	close(proceed)
	s.Close(t.Context())
	if err := s.Put(term, records("b", "1"))(t.Context()); (s.shared != nil) != errors.Is(err, errClosed) {
		t.Errorf("Put after Close: got %v", err)
	}
	mustHave(t, config, records("a", "1"))
}

// testNewerFormat opens records of a newer program, one of which has a checksum of a kind that this program does not
// know. That fails, is not damage, and changes nothing.
func testNewerFormat(t *testing.T, config Config) {
	s, _, _ := mustOpen(t, config)
	mustPut(t, s, records("a", "1"))
	changeFormat(t, s, "2 something", "a")
	s.Close(t.Context())
	before := dump(t, config)
	config.OnError = func(operation string, err error) { t.Errorf("got report %s: %v", operation, err) }
	_, _, err := Open(config)
	if want := "the records have format 2, which this program does not know: use a newer version"; err == nil ||
		!strings.HasSuffix(err.Error(), want) || errors.Is(err, errDamaged) {
		t.Errorf("got %v, want %s", err, want)
	}
	if after := dump(t, config); before != after {
		t.Errorf("the store was changed:\n%s\nwant\n%s", after, before)
	}
}

// changeFormat changes the record of the format, and the checksum of another one, under an open store.
func changeFormat(t *testing.T, s *Store, format, key string) {
	t.Helper()
	change := func(l *ledger) func(tx *sql.Tx) error {
		return func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE bilibili_exporter_records SET checksum = 1 WHERE namespace = $1 AND key = $2",
				l.namespace, key)
			return errors.Join(err, l.writeRecords(tx, records(formatKey, format)))
		}
	}
	var err error
	switch db := s.db.(type) {
	case *sqliteDB:
		err = db.inTransaction(change(&db.ledger))
	case *postgresDB:
		err = db.inTransaction(change(&db.ledger))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dumpDatabase returns the contents of the tables of a shared store.
var dumpDatabase func(t *testing.T) string

// dump returns all that a store consists of.
func dump(t *testing.T, config Config) string {
	t.Helper()
	if config.URL != "" {
		return dumpDatabase(t)
	}
	var all strings.Builder
	entries, err := os.ReadDir(config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			fmt.Fprintf(&all, "%s %v\n", entry.Name(), entry.Type())
			continue
		}
		content := mustRead(t, filepath.Join(config.Dir, entry.Name()))
		fmt.Fprintf(&all, "%s %d %x\n", entry.Name(), len(content), sha256.Sum256(content))
	}
	return all.String()
}

// TestSlowWrite reports a write that takes long, and the recovery after it.
func TestSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reported := &problems{}
		s := newStore(Config{OnError: reported.add, OnRecovery: reported.recovered}, slowDB{}, embeddedTerm, Lease{})
		if err := s.Put(embeddedTerm, records("a", "1"))(t.Context()); err != nil {
			t.Error(err)
		}
		s.Close(t.Context())
		want := []string{"write: writing has taken 5s so far; no API request is sent until it finishes"}
		if list, recoveries := reported.get(); !slices.Equal(list, want) || recoveries != 1 {
			t.Errorf("got %q and %d recoveries, want %q and 1", list, recoveries, want)
		}
	})
}

// slowDB is a database whose writes take 6 s.
type slowDB struct{}

func (slowDB) Write(int64, map[string][]byte) error {
	time.Sleep(6 * time.Second)
	return nil
}

func (slowDB) Close(int64) error { return nil }

// slowSharedDB is a shared database whose writes take 6 s.
type slowSharedDB struct{ slowDB }

func (slowSharedDB) Acquire() (Contents, Lease, error) { return Contents{}, Lease{}, nil }

// superseded is a database whose lease another replica takes.
type superseded struct{}

func (superseded) Write(int64, map[string][]byte) error { return ErrSuperseded }

func (superseded) Acquire() (Contents, Lease, error) {
	return Contents{Records: records("a", "1")}, Lease{Holder: "other", Held: true}, nil
}

func (superseded) Close(int64) error { return nil }

// TestSuperseded has another replica take the lease. The keys of what is not written are reported, and that is neither
// a failure nor followed by a recovery.
func TestSuperseded(t *testing.T) {
	reported := &problems{}
	config := Config{OnError: reported.add, OnRecovery: reported.recovered, OnLost: reported.lose}
	s := newStore(config, superseded{}, 1, Lease{})
	s.Put(1, records("b", "1", "a", "2"))
	if got, term, err := s.Lead(t.Context()); !equal(got, records("a", "1")) || term != 0 || err != nil {
		t.Errorf("Lead: got %q, term %d, %v", got, term, err)
	}
	s.Close(t.Context())
	if got, want := reported.lost, []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got lost records %q, want %q", got, want)
	}
	if list, recoveries := reported.get(); len(list) > 0 || recoveries > 0 {
		t.Errorf("got reports %q and %d recoveries, want none", list, recoveries)
	}
}

// closingDB is a shared database whose first writes fail.
type closingDB struct {
	slowSharedDB
	failures int
	written  map[string][]byte
	released int64 // the term whose lease was given up; 0 for none
}

func (d *closingDB) Write(_ int64, changes map[string][]byte) error {
	if d.failures--; d.failures >= 0 {
		return errors.New("connection reset")
	}
	d.written = changes
	return nil
}

func (d *closingDB) Close(term int64) error {
	d.released = term
	return nil
}

// TestClose closes a store with a queued change. A write that fails is repeated once. If that fails, too, the lease is
// not given up, so that the next replica does not continue at once without the change.
func TestClose(t *testing.T) {
	changes := records("a", "1")
	for _, test := range []struct {
		failures int
		written  map[string][]byte
		released int64
	}{{0, changes, 7}, {1, changes, 7}, {2, nil, 0}} {
		db := &closingDB{failures: test.failures}
		s := newStore(Config{OnError: new(problems).add}, db, 7, Lease{})
		s.Put(7, changes)
		s.Close(t.Context())
		if !equal(db.written, test.written) || db.released != test.released {
			t.Errorf("%d failures: got %q written and the lease of term %d given up, want %q and %d",
				test.failures, db.written, db.released, test.written, test.released)
		}
	}
}

// TestLeaseExpires does not renew a lease. A replica then no longer reports to be active.
func TestLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(Config{OnError: new(problems).add}, slowSharedDB{}, 1, Lease{})
		defer s.Close(t.Context())
		if _, _, err := s.Lead(t.Context()); err != nil {
			t.Error(err)
		}
		for _, step := range []struct {
			wait time.Duration
			want bool
		}{{0, true}, {leaseTime - 7*time.Second, true}, {2 * time.Second, false}} {
			time.Sleep(step.wait)
			if active, _ := s.Lease(); active != step.want {
				t.Errorf("after %v more: active is %v, want %v", step.wait, active, step.want)
			}
		}
	})
}
