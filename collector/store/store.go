// Package store keeps small, opaque records durably in one file.
//
// The file is a bbolt database. Every record has a checksum, and a manifest has one over all records, so that any
// damage is detected. A damaged file is renamed, and a new one is created.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

const (
	fileName = "state.db"
	lockName = "lock"

	// asideSuffix and the time are appended to the name of a damaged file.
	asideSuffix = ".corrupt-"

	// slowCommit is the time after which a commit in progress is reported.
	slowCommit = 5 * time.Second
)

// The operations that can fail, for Config.OnError.
const (
	OperationRead  = "read"
	OperationWrite = "write"
)

// Config is what a [Store] needs.
type Config struct {
	Dir     string                            // created if missing
	OnError func(operation string, err error) // called for every failure, from any goroutine
	// OnRecovery is called when a write succeeds again after a failure. It may be nil.
	OnRecovery func()
	// IfLost are the records of a new store that replaces a damaged one.
	IfLost map[string][]byte
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	path      string
	file      os.FileInfo // of path when it was opened
	lock      *flock.Flock
	db        *bbolt.DB
	onError   func(operation string, err error)
	recovered func()
	wake      chan struct{} // buffered; receives when a caller waits for the batch
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	stopped   chan struct{} // closed when the committer has stopped
	broken    error         // used by the committer only: set when the database can no longer be used
	failing   bool          // used by the committer only: whether the latest write failed

	mu         sync.Mutex        // protects the following fields
	pending    map[string][]byte // the next batch by key; nil deletes
	gathering  chan struct{}     // closed when the next batch has been committed
	committing chan struct{}     // closed when the batch in progress has been committed; nil if there is none
}

// Contents are the records of a store when it is opened.
type Contents struct {
	Records map[string][]byte
	// SetAside is the new path of a damaged file, and Damage what was found. It is empty if there was no damaged file.
	SetAside string
	Damage   error
}

// Open opens the store in a directory, or creates one. It fails if the directory cannot be used or another process
// uses it.
func Open(config Config) (*Store, Contents, error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, Contents{}, fmt.Errorf("opening the store: %w", err)
	}
	lockPath := filepath.Join(config.Dir, lockName)
	if info, err := os.Stat(lockPath); err == nil && !info.Mode().IsRegular() {
		return nil, Contents{}, fmt.Errorf("opening the store: %s is not a regular file", lockPath)
	}
	lock := flock.New(lockPath, flock.SetPermissions(0o600))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, Contents{}, fmt.Errorf("opening the store: locking: %w", err)
	case !locked:
		return nil, Contents{}, fmt.Errorf("opening the store: %s is in use by another process: "+
			"run one exporter for each token, each with a directory of its own", config.Dir)
	}
	path := filepath.Join(config.Dir, fileName)
	db, contents, err := open(path, config)
	if err != nil {
		lock.Unlock() //nolint:errcheck // the process is about to exit
		return nil, Contents{}, fmt.Errorf("opening the store: %w", err)
	}
	file, err := os.Stat(path)
	if err != nil {
		db.Close()    //nolint:errcheck // the process is about to exit
		lock.Unlock() //nolint:errcheck // likewise
		return nil, Contents{}, fmt.Errorf("opening the store: %w", err)
	}
	s := &Store{
		path: path, file: file, lock: lock, db: db, onError: config.OnError, recovered: config.OnRecovery,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}),
		pending: make(map[string][]byte), gathering: make(chan struct{}),
	}
	go s.run()
	return s, contents, nil
}

// open opens the file at path. It creates a new one if there is none or it is damaged.
func open(path string, config Config) (*bbolt.DB, Contents, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		var records map[string][]byte
		if wasSetAside(path) {
			records = config.IfLost
		}
		db, err := create(path, records)
		return db, Contents{Records: records}, err
	}
	if err != nil {
		return nil, Contents{}, err
	}
	db, records, damage := load(path)
	if damage == nil || !errors.Is(damage, errDamaged) {
		return db, Contents{Records: records}, damage
	}
	config.OnError(OperationRead, damage)
	aside, err := setAside(path)
	if err != nil {
		return nil, Contents{}, fmt.Errorf("%s is damaged (%w), and renaming it failed: %w", path, damage, err)
	}
	db, err = create(path, config.IfLost)
	return db, Contents{Records: config.IfLost, SetAside: aside, Damage: damage}, err
}

// wasSetAside reports whether there is a renamed damaged file. If there is no other, a process exited before it
// created a new one.
func wasSetAside(path string) bool {
	entries, err := os.ReadDir(filepath.Dir(path))
	return err != nil || slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		return strings.HasPrefix(entry.Name(), filepath.Base(path)+asideSuffix)
	})
}

// setAside renames a damaged file and returns its new path.
func setAside(path string) (string, error) {
	aside := path + asideSuffix + time.Now().UTC().Format("20060102T150405.000Z")
	return aside, os.Rename(path, aside)
}

// Put queues changes of records; a nil value deletes. Queued changes are committed in order, and those of one Put
// in one transaction.
//
// The returned function waits until these changes and all earlier ones are on disk or failed to be written, or
// until its context ends. Changes that failed are part of the next commit. Put may be called without changes, to
// wait for others.
func (s *Store) Put(changes map[string][]byte) (wait func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.pending, changes)
	done := s.gathering
	if len(s.pending) == 0 {
		done = s.committing
	}
	return func(ctx context.Context) { s.await(ctx, done) }
}

// await starts the commit of the batch that done belongs to, if it is not nil, and waits for it.
func (s *Store) await(ctx context.Context, done <-chan struct{}) {
	if done == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-done:
	case <-s.stopped:
	case <-ctx.Done():
	}
}

// run commits the batch whenever a caller waits for it. Callers that start to wait during a commit share the next
// one.
func (s *Store) run() {
	defer close(s.stopped)
	for {
		select {
		case <-s.wake:
			s.commit()
		case <-s.closing:
			s.commit()
			return
		}
	}
}

// commit commits the next batch.
func (s *Store) commit() {
	s.mu.Lock()
	if len(s.pending) == 0 {
		s.mu.Unlock()
		return
	}
	changes, done := s.pending, s.gathering
	s.pending, s.gathering, s.committing = make(map[string][]byte), make(chan struct{}), done
	s.mu.Unlock()

	told := make(chan struct{})
	slow := time.AfterFunc(slowCommit, func() {
		defer close(told)
		s.onError(OperationWrite, fmt.Errorf("writing has taken %v so far; no API request is sent until it finishes",
			slowCommit))
	})
	err := s.write(changes)
	slowly := !slow.Stop()
	if slowly {
		<-told
	}
	switch {
	case err != nil:
		s.onError(OperationWrite, err)
	case (slowly || s.failing) && s.recovered != nil:
		s.recovered()
	}
	s.failing = err != nil
	s.mu.Lock()
	s.committing = nil
	if err != nil {
		maps.Copy(changes, s.pending) // newer changes win
		s.pending = changes
	}
	s.mu.Unlock()
	close(done)
}

// write writes changes to disk. A panic or memory fault leaves the database in an unknown state: it is not used
// again, and renamed, so that the next process does not continue from its old state.
func (s *Store) write(changes map[string][]byte) error {
	if s.broken != nil {
		return s.broken
	}
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(now, s.file) {
		return fmt.Errorf("%s was removed or replaced: nothing is stored until a restart", s.path)
	}
	err := guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error { return apply(tx, changes) })
	})
	if errors.Is(err, errDamaged) {
		s.broken = fmt.Errorf("the database failed earlier: %w", err)
		if _, err := setAside(s.path); err != nil {
			s.onError(OperationWrite, err)
		}
	}
	return err
}

// Close commits the queued changes and closes the store. It returns early when ctx ends, because a disk can hang.
// Later changes are not stored. It may be called again.
func (s *Store) Close(ctx context.Context) {
	s.closeOnce.Do(func() { close(s.closing) })
	select {
	case <-s.stopped:
	case <-ctx.Done():
		return
	}
	if s.broken == nil {
		if err := guarded(s.db.Close); err != nil {
			s.onError(OperationWrite, err)
		}
	}
	s.lock.Unlock() //nolint:errcheck // the process is about to exit
}
