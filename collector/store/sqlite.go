package store

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	fileName      = "state.db"
	journalSuffix = "-journal" // SQLite's
	lockSuffix    = ".lock"    // of a file that the process locks
	draftSuffix   = ".new"     // of a database that is being created
	asideSuffix   = ".corrupt-"

	pageSize     = 4096
	journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
	// lockTimeout is how long to wait for another process.
	lockTimeout = 250 * time.Millisecond

	// embeddedTerm is the only term of an embedded store. The lock of its file takes the place of a lease.
	embeddedTerm = 1
	// embeddedNamespace is the only namespace of an embedded store.
	embeddedNamespace = ""
)

// sqliteDB is an SQLite database, locked for this process.
type sqliteDB struct {
	db    *sql.DB
	path  string
	files map[string]os.FileInfo // by path: the database and its journal, as they were when it was opened

	unlock func() // lets other processes use the directory
	ledger ledger
}

var errInUse = errors.New("it is in use by another process")

// openSQLite opens the database in a directory. It creates one if there is none, or the one that there is is damaged.
func openSQLite(config Config) (*sqliteDB, Contents, error) {
	d := &sqliteDB{path: filepath.Join(config.Dir, fileName), ledger: ledger{namespace: embeddedNamespace}}
	contents := Contents{Term: embeddedTerm}
	if err := d.start(config, &contents); err != nil {
		advice := ""
		switch {
		case errors.Is(err, os.ErrPermission):
			advice = describeOwner(config.Dir)
			if failure, ok := errors.AsType[*os.PathError](err); ok {
				advice = describeOwner(failure.Path)
			}
		case errors.Is(err, errInUse):
			advice = ": run one exporter for each token, each with a directory of its own"
		}
		return nil, Contents{}, fmt.Errorf("opening the store in %s: %w%s", config.Dir, err, advice)
	}
	return d, contents, nil
}

// start opens or creates the database. It locks a file of its own first and until [sqliteDB.Close], because the lock of
// a database that is damaged or replaced protects nothing.
func (d *sqliteDB) start(config Config, contents *Contents) (err error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return err
	}
	lockPath := d.path + lockSuffix
	if _, _, err := inspectFile(lockPath, os.O_RDWR|os.O_CREATE|os.O_TRUNC); err != nil {
		return err
	}
	if d.unlock, err = lockFile(lockPath); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.unlock()
		}
	}()
	contents.Records, err = d.open()
	if errors.Is(err, errDamaged) { // an I/O error can look like damage, but not twice while the file can be read
		contents.Records, err = d.open()
	}
	if errors.Is(err, errDamaged) {
		config.OnError(OperationRead, err)
		contents.Damage = err
		if contents.RenamedTo, err = d.moveAside(); err == nil {
			err = os.ErrNotExist
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		if err = create(d.path, config.IfLost); err == nil {
			contents.Records, err = d.open()
		}
	}
	return err
}

// lockFile locks a file by a transaction of SQLite, which knows how to on every system.
func lockFile(path string) (unlock func(), err error) {
	db, err := connect(path, "MEMORY")
	if err != nil {
		return nil, err
	}
	tx, err := db.Begin()
	if err != nil {
		db.Close() //nolint:errcheck // nothing was opened
		return nil, classify(err)
	}
	return func() {
		tx.Rollback() //nolint:errcheck // nothing was written
		db.Close()    //nolint:errcheck // likewise
	}, nil
}

// open locks and checks the database, and reads all records. It writes, too, so that a file that cannot be written is
// an error now and not later.
func (d *sqliteDB) open() (records map[string][]byte, err error) {
	if err := d.inspect(); err != nil {
		return nil, err
	}
	if d.db, err = connect(d.path, "TRUNCATE"); err != nil {
		return nil, err
	}
	err = d.inTransaction(func(tx *sql.Tx) error {
		var result string
		if err := tx.QueryRow("PRAGMA integrity_check(1)").Scan(&result); err != nil {
			return err
		}
		if result != "ok" {
			return fmt.Errorf("%w: %s", errDamaged, strings.Join(strings.Fields(result), " "))
		}
		if records, err = d.ledger.read(tx, false); err != nil {
			return err
		}
		if err := d.ledger.writeRecords(tx, map[string][]byte{formatKey: nil}); err != nil {
			return err // SQLite does not write what does not change
		}
		return d.ledger.write(tx, nil)
	})
	// SQLite has replaced the journal of a killed process, and changed the size of the database.
	for _, path := range []string{d.path, d.path + journalSuffix} {
		if err == nil {
			d.files[path], err = os.Stat(path)
		}
	}
	if err != nil {
		d.db.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	return records, nil
}

// inspect opens the database's files without SQLite, whose errors do not name the cause, and reads them to their ends,
// because SQLite can report an I/O error as damage. It also finds what SQLite overlooks.
func (d *sqliteDB) inspect() (err error) {
	journal := d.path + journalSuffix
	d.files = make(map[string]os.FileInfo)
	d.files[d.path], _, err = inspectFile(d.path, os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		if info, err := os.Lstat(journal); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return fmt.Errorf("%w: there is a journal, but no database", errDamaged)
		}
	}
	if err != nil {
		return err
	}
	_, header, err := inspectFile(journal, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	// To SQLite, an empty file is an empty database. It would enlarge a file to the size in its journal, which is the one
	// before the transaction.
	var before int64
	if strings.HasPrefix(string(header[:]), journalMagic) {
		before = int64(binary.BigEndian.Uint32(header[16:])) * pageSize
	}
	if size := d.files[d.path].Size(); size < max(pageSize, before) {
		return fmt.Errorf("%w: the file has only %d bytes", errDamaged, size)
	}
	return nil
}

// inspectFile opens a file and reads it to its end. It returns its identity and its first bytes.
func inspectFile(path string, flag int) (info os.FileInfo, header [20]byte, err error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, header, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, header, err
	}
	defer file.Close()
	if _, err := file.ReadAt(header[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, header, err
	}
	if _, err := io.Copy(io.Discard, file); err != nil {
		return nil, header, err
	}
	info, err = file.Stat()
	return info, header, err
}

// connect returns the database at path, which must exist. Nothing is opened yet. The mode of the journal is never WAL,
// because SQLite ignores what follows a damaged part of a write-ahead log.
func connect(path, journalMode string) (*sql.DB, error) {
	query := url.Values{"mode": {"rw"}, "_txlock": {"exclusive"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", lockTimeout.Milliseconds()),
		"locking_mode(EXCLUSIVE)", "journal_mode(" + journalMode + ")", "synchronous(FULL)",
	}}
	target := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}
	target.RawQuery = query.Encode()
	db, err := sql.Open("sqlite", target.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // it keeps the file locked
	return db, nil
}

// create creates a database. It contains ifLost if a damaged one has been renamed, perhaps by a process that was
// killed before it had created a new one. The file gets its name when it is complete, because an empty file counts as
// damaged.
func create(path string, ifLost map[string][]byte) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	initial := make(map[string][]byte)
	for _, name := range names {
		if strings.HasPrefix(name, fileName+asideSuffix) {
			maps.Copy(initial, ifLost)
		}
	}
	d := &sqliteDB{ledger: ledger{namespace: embeddedNamespace, sums: make(map[string]int64)}}
	draft := path + draftSuffix
	file, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	file.Close()
	defer os.Remove(draft) //nolint:errcheck // it does no harm
	if d.db, err = connect(draft, "MEMORY"); err != nil {
		return err
	}
	err = d.inTransaction(func(tx *sql.Tx) error {
		if _, err := tx.Exec(recordsTable + " WITHOUT ROWID"); err != nil {
			return err
		}
		return d.ledger.write(tx, initial)
	})
	if err := errors.Join(err, d.db.Close()); err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" { // which cannot
		return err
	}
	return nil
}

// moveAside renames a damaged database, with its journal, and returns its new path.
func (d *sqliteDB) moveAside() (string, error) {
	aside := d.path + asideSuffix + time.Now().UTC().Format("20060102T150405.000Z")
	for _, suffix := range []string{"", journalSuffix} {
		if err := os.Rename(d.path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// Write implements [Database].
func (d *sqliteDB) Write(_ int64, changes map[string][]byte) error {
	for _, path := range []string{d.path, d.path + journalSuffix} {
		now, err := os.Stat(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err != nil || !os.SameFile(now, d.files[path]) || path == d.path && now.Size() < d.files[path].Size() {
			return fmt.Errorf("%s was removed, replaced or cut: nothing is stored until it is back, or a restart", path)
		}
	}
	return d.inTransaction(func(tx *sql.Tx) error { return d.ledger.write(tx, changes) })
}

// Close implements [Database].
func (d *sqliteDB) Close(int64) error {
	defer d.unlock()
	return d.db.Close()
}

// inTransaction runs f in a transaction. SQLite can panic when a file is damaged.
func (d *sqliteDB) inTransaction(f func(*sql.Tx) error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: SQLite: %v", errDamaged, cause)
		}
	}()
	if err = inTransaction(d.db, f); err != nil {
		d.db.Exec("ROLLBACK") //nolint:errcheck // of a failed commit; else of no effect
	}
	return classify(err)
}

// classify distinguishes damage, and a file that another process uses, from errors of the environment.
func classify(err error) error {
	var failure *sqlite.Error
	if !errors.As(err, &failure) || errors.Is(err, errDamaged) {
		return err
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errInUse
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOLFS:
		return err
	default: // SQLite does not understand the file, or believes that a newer version has written it
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
}
