// Package store keeps small records in one file, durably. It knows nothing of
// what they mean.
//
// The file is a bbolt database. Every record carries a checksum, and a
// manifest carries one over all records, so that a damaged file is noticed
// whatever the damage: it is set aside, and a new one begun.
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

	// asideSuffix and the time are added to the name of a damaged file.
	asideSuffix = ".corrupt-"

	// slowCommit is how long a commit may take without being reported.
	slowCommit = 10 * time.Second
)

// The operations that can fail, for Config.OnError.
const (
	OperationRead  = "read"
	OperationWrite = "write"
)

// Config is what a [Store] needs.
type Config struct {
	Dir     string                            // made if missing
	OnError func(operation string, err error) // told of every failure; may be called from any goroutine
	// OnRecovery is told when a write has succeeded after what OnError was told.
	// It may be nil.
	OnRecovery func()
	// IfLost are the records of a new store that is begun because the old one
	// was damaged.
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
	wake      chan struct{} // has room for one: somebody waits for the batch
	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	stopped   chan struct{} // closed when the committer has ended
	broken    error         // the committer's: set when the database can no longer be used
	failing   bool          // the committer's: whether the latest write has failed

	mu         sync.Mutex        // protects the following fields
	pending    map[string][]byte // the batch that gathers, by key; nil deletes
	gathering  chan struct{}     // closed when that batch has been committed
	committing chan struct{}     // the same for the batch before it, nil unless it is being committed
}

// Contents are the records of a store when it is opened.
type Contents struct {
	Records map[string][]byte
	// SetAside is where a damaged file was moved to, with the Damage found;
	// empty if the file was good, or there was none.
	SetAside string
	Damage   error
}

// Open opens the store in a folder, or makes one. It fails if the folder cannot
// be used, or if another process uses it.
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
		return nil, Contents{}, fmt.Errorf("opening the store: %s is in use by another process: run one exporter for each token, each with a folder of its own", config.Dir)
	}
	path := filepath.Join(config.Dir, fileName)
	db, contents, err := open(path, config)
	if err != nil {
		lock.Unlock() //nolint:errcheck // the process is about to end
		return nil, Contents{}, fmt.Errorf("opening the store: %w", err)
	}
	file, err := os.Stat(path)
	if err != nil {
		db.Close()    //nolint:errcheck // the process is about to end
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

// open opens the file at path, a new one if there is none or it is damaged.
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
		return nil, Contents{}, fmt.Errorf("%s is damaged (%w), and setting it aside failed: %w", path, damage, err)
	}
	db, err = create(path, config.IfLost)
	return db, Contents{Records: config.IfLost, SetAside: aside, Damage: damage}, err
}

// wasSetAside reports whether there is a file that was set aside. Then a
// process has ended before it could begin a new one.
func wasSetAside(path string) bool {
	entries, err := os.ReadDir(filepath.Dir(path))
	return err != nil || slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		return strings.HasPrefix(entry.Name(), filepath.Base(path)+asideSuffix)
	})
}

// setAside gives a damaged file another name, and returns it.
func setAside(path string) (string, error) {
	aside := path + asideSuffix + time.Now().UTC().Format("20060102T150405.000Z")
	return aside, os.Rename(path, aside)
}

// Put changes records, all of them at once or none; a nil value deletes. It
// only queues the changes, which are committed in the order of their queueing.
//
// The function that it returns waits until they, and all before them, are on
// disk or could not be brought there, or until its context ends. What could not
// be is not lost: it goes with the next commit. Put without changes is for its
// function only.
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

// await has the batch committed that done belongs to, nil for none, and waits
// for that.
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

// run commits a batch whenever somebody waits for one. Those who begin to wait
// meanwhile share the next.
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

// commit commits the batch that has gathered.
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
		s.onError(OperationWrite, fmt.Errorf("writing has taken %v, and goes on: until it ends no call can be recorded, and none is made", slowCommit))
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
		maps.Copy(changes, s.pending) // what is newer wins
		s.pending = changes
	}
	s.mu.Unlock()
	close(done)
}

// write brings changes to disk. A panic or a fault leaves the database in a
// state that nobody knows: it is not touched again, and set aside, so that the
// next start does not go on from what it was before.
func (s *Store) write(changes map[string][]byte) error {
	if s.broken != nil {
		return s.broken
	}
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(now, s.file) {
		return fmt.Errorf("%s was removed or replaced: nothing is kept until a restart", s.path)
	}
	err := guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error { return apply(tx, changes) })
	})
	if errors.Is(err, errDamaged) {
		s.broken = fmt.Errorf("the database has failed before: %w", err)
		if _, err := setAside(s.path); err != nil {
			s.onError(OperationWrite, err)
		}
	}
	return err
}

// Close commits what is queued and closes the store. It gives up when ctx ends:
// a disk can hang. What is put afterwards is not kept. It may be called again.
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
	s.lock.Unlock() //nolint:errcheck // the process is about to end
}
