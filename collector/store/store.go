// Package store keeps small records durably in an SQL database, without knowing what they mean.
//
// The embedded store is an SQLite database in a directory, which one process uses at a time. The shared store is a
// PostgreSQL database: several replicas read its records, and the one that holds the lease writes them. Every record
// has a checksum, which detects damage that the database itself does not.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// The operations that can fail, for [Config.OnError].
const (
	OperationRead  = "read"
	OperationWrite = "write"
)

const (
	// slowCommit is the time after which a commit in progress is reported.
	slowCommit = 5 * time.Second
	// slowLead is how long after a renewal of the lease the active replica may continue without another one.
	slowLead = time.Minute
)

var (
	// errDamaged is damage that the database or a checksum proves. Nothing else is.
	errDamaged = errors.New("damaged")
	// ErrSuperseded is the error of changes that are not written, because the term under which they were made is over.
	ErrSuperseded = errors.New("this replica is not active")
	errClosed     = errors.New("the store is closed")
)

// Config is what a [Store] needs.
type Config struct {
	Dir string // of the embedded store; created if missing

	URL       string // of the shared store; empty for the embedded one
	Namespace string // of its records
	Holder    string // name of this replica

	// IfLost are the records of a new embedded store that replaces a damaged one.
	IfLost map[string][]byte

	OnError func(operation string, err error) // called for every failure, from any goroutine
	// OnRecovery is called when an operation succeeds after a failure. It may be nil.
	OnRecovery func()
	// OnLost is called with the sorted keys of changes that will never be written, because the term under which they were
	// made is over. It may be nil.
	OnLost func(keys []string)
}

// Contents are the records of a store, and who may change them.
type Contents struct {
	Records map[string][]byte
	// Term is the number of the lease under which this process may change the records; 0 on standby.
	Term int64

	// RenamedTo is the new path of a damaged file, and Damage what was found; empty if there was none.
	RenamedTo string
	Damage    error
}

// Lease says which replica is active. The zero value is that of an embedded store.
type Lease struct {
	Holder string    // the last one
	Since  time.Time // when it became active
	Held   bool      // whether it still is
	// Refused is why this replica would not become active, whether the lease is free or not; nil if nothing keeps it.
	Refused error
}

// Database is what an engine does. One goroutine uses it at a time.
type Database interface {
	// Write commits changes, all or none; nil deletes. It fails with [ErrSuperseded] if the term is over.
	Write(term int64, changes map[string][]byte) error
	// Close gives up the lease of a term, unless it is 0, and disconnects.
	Close(term int64) error
}

// SharedDatabase is a database that several replicas share.
type SharedDatabase interface {
	Database
	// Acquire reads all records, and takes the lease if it is free.
	Acquire() (Contents, Lease, error)
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	db        Database
	shared    SharedDatabase // the same, nil if embedded
	onError   func(operation string, err error)
	recovered func()
	onLost    func(keys []string)
	wake      chan struct{} // buffered; receives when there is work for the worker
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	stopped   chan struct{} // closed when the worker has stopped
	failing   bool          // used by the worker only: whether the last operation failed

	mu      sync.Mutex // protects the following fields
	term    int64      // 0 on standby
	renewed time.Time  // when the lease was last known to be held
	lease   Lease
	loaded  map[string][]byte // records that [Store.Lead] has yet to return
	next    *batch            // gathers changes
	current *batch            // is being committed; nil if none is
}

// batch is the changes of one transaction.
type batch struct {
	changes map[string][]byte // by key; nil deletes
	lead    bool              // whether a caller wants this process to be the active replica
	done    chan struct{}     // closed when they have been committed or have failed
	err     error             // set before done is closed
}

func newBatch() *batch { return &batch{changes: make(map[string][]byte), done: make(chan struct{})} }

// Open opens a store, or creates one. On failure it has changed nothing.
func Open(config Config) (*Store, Contents, error) {
	var db Database
	var contents Contents
	var lease Lease
	var err error
	if config.URL != "" {
		db, contents, lease, err = openPostgres(config)
	} else {
		db, contents, err = openSQLite(config)
	}
	if err != nil {
		return nil, Contents{}, err
	}
	return newStore(config, db, contents.Term, lease), contents, nil
}

// OpenShared opens a shared store on any database, on standby, for tests of what uses a store. Config says what to
// call, and nothing else.
func OpenShared(db SharedDatabase, config Config) *Store { return newStore(config, db, 0, Lease{}) }

func newStore(config Config, db Database, term int64, lease Lease) *Store {
	shared, _ := db.(SharedDatabase)
	s := &Store{
		db: db, shared: shared, onError: config.OnError, recovered: config.OnRecovery, onLost: config.OnLost,
		term: term, lease: lease, next: newBatch(),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go s.run()
	return s
}

// Put queues changes of records that were made under a term; a nil value deletes. Queued changes are committed in
// order, and those of one Put in one transaction.
//
// The returned function waits until these changes and all earlier ones are durable, or until ctx ends. It returns an
// error if they are not durable and another replica could rely on older ones; they are part of the next commit then,
// unless the term is over. A failed write of the embedded store is no error to the caller, which continues from memory.
// Put may be called without changes, to wait for others.
func (s *Store) Put(term int64, changes map[string][]byte) (wait func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		return func(context.Context) error { return ErrSuperseded }
	}
	maps.Copy(s.next.changes, changes)
	b := s.next
	if len(b.changes) == 0 {
		b = s.current
	}
	return func(ctx context.Context) error { return s.await(ctx, b) }
}

// await makes the worker commit a batch, if it is not nil, and waits for that.
func (s *Store) await(ctx context.Context, b *batch) error {
	if b == nil {
		return nil
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Lead renews the lease of the active replica, or takes it if it is free; the embedded store needs none. It returns all
// records and the term under which they may be changed, 0 on standby, or no records if the caller knows them already.
// An error means that no request may be sent. Lead waits until ctx ends; an attempt that takes longer continues, and a
// later call returns its records.
func (s *Store) Lead(ctx context.Context) (records map[string][]byte, term int64, err error) {
	if s.shared == nil {
		return nil, embeddedTerm, nil
	}
	s.mu.Lock()
	b := s.next
	b.lead = true
	s.mu.Unlock()
	err = s.await(ctx, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, ErrSuperseded) && s.loaded != nil:
		err = nil // this replica is on standby now, or active under a new term
	case ctx.Err() != nil && s.term != 0 && elapsed(s.renewed) < slowLead:
		err = nil // the database is slow; each request still waits for its record
	}
	records, s.loaded = s.loaded, nil
	return records, s.term, err
}

// Lease returns whether this process is the active one, and what is known about the lease.
func (s *Store) Lease() (active bool, lease Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shared == nil || s.term != 0 && elapsed(s.renewed) < leaseTime, s.lease
}

// elapsed returns the time since t, by the clock that shows more of it: the monotonic clock stops while the machine is
// suspended, and the wall clock can be set back.
func elapsed(t time.Time) time.Duration { return max(time.Since(t), time.Since(t.Round(0))) }

// run works whenever a caller waits for something. Callers that start to wait during a commit share the next one.
func (s *Store) run() {
	defer close(s.stopped)
	for closing := false; !closing; {
		select {
		case <-s.wake:
		case <-s.closing:
			closing = true
		}
		s.commit()
	}
	s.commit() // again, if it has failed, for example because the database was restarted since the last write
	s.mu.Lock()
	term := s.term
	if len(s.next.changes) > 0 {
		term = 0 // the lease expires by itself, because another replica would miss what was not written
	}
	s.mu.Unlock()
	if err := s.db.Close(term); err != nil {
		s.onError(OperationWrite, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		s.next.err = errClosed
	}
	close(s.next.done)
}

// commit commits the next batch, which renews the lease even without changes. If this process is not the active replica
// and is to be, commit takes the lease if it is free, and reads all records.
func (s *Store) commit() {
	s.mu.Lock()
	b, term := s.next, s.term
	if len(b.changes) == 0 && !b.lead {
		s.mu.Unlock()
		return
	}
	s.next, s.current = newBatch(), b
	s.mu.Unlock()

	start, err := time.Now(), ErrSuperseded // on standby, nothing may be written
	if term != 0 {
		err = s.write(term, b.changes)
	}
	s.mu.Lock()
	s.current = nil
	late := s.next
	switch {
	case err == nil:
		s.renewed = start
	case errors.Is(err, ErrSuperseded):
		s.term, s.next = 0, newBatch()
	default:
		maps.Copy(b.changes, late.changes) // newer changes win
		late.changes = b.changes
	}
	s.mu.Unlock()

	if errors.Is(err, ErrSuperseded) {
		late.err = err
		close(late.done)
		maps.Copy(b.changes, late.changes)
		if len(b.changes) > 0 && s.onLost != nil {
			s.onLost(slices.Sorted(maps.Keys(b.changes)))
		}
		if b.lead {
			err = cmp.Or(s.acquire(), err)
		}
	}
	if s.shared != nil {
		b.err = err
	}
	close(b.done)
}

// acquire takes the lease if it is free, and reads all records.
func (s *Store) acquire() error {
	start := time.Now()
	contents, lease, err := s.shared.Acquire()
	s.report(OperationRead, err, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease != (Lease{}) {
		s.lease = lease
	}
	if err == nil {
		s.term, s.renewed, s.loaded = contents.Term, start, contents.Records
	}
	return err
}

// write writes changes, and reports failures, slow writes and recoveries.
func (s *Store) write(term int64, changes map[string][]byte) error {
	reported := make(chan struct{})
	slow := time.AfterFunc(slowCommit, func() {
		defer close(reported)
		s.onError(OperationWrite, fmt.Errorf("writing has taken %v so far; no API request is sent until it finishes",
			slowCommit))
	})
	err := s.db.Write(term, changes)
	slowly := !slow.Stop()
	if slowly {
		<-reported
	}
	if errors.Is(err, ErrSuperseded) { // the database works
		s.report(OperationWrite, nil, slowly)
	} else {
		s.report(OperationWrite, err, slowly)
	}
	return err
}

// report reports how an operation ended.
func (s *Store) report(operation string, err error, slowly bool) {
	switch {
	case err != nil:
		s.onError(operation, err)
	case (slowly || s.failing) && s.recovered != nil:
		s.recovered()
	}
	s.failing = err != nil
}

// Close commits the queued changes, gives up the lease and closes the store. It returns early when ctx ends, because a
// disk can hang. Later changes are not stored. It may be called again.
func (s *Store) Close(ctx context.Context) {
	s.closeOnce.Do(func() { close(s.closing) })
	select {
	case <-s.stopped:
	case <-ctx.Done():
	}
}
