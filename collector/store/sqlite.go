package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	fileName      = "state.db"
	journalSuffix = "-journal" // SQLite's
	draftPrefix   = fileName + ".new-"
	// asideSuffix and the time are appended to the name of a damaged file.
	asideSuffix = ".corrupt-"

	// minFileSize is the size of one of SQLite's pages. To SQLite, an empty file is an empty database.
	minFileSize = 4096
	// lockTimeout is how long to wait for another process to release the file.
	lockTimeout = 500 * time.Millisecond

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
}

// openSQLite opens the database in a directory. It creates one if there is none, or the one that there is is damaged.
func openSQLite(config Config) (*sqliteDB, Contents, error) {
	d := &sqliteDB{path: filepath.Join(config.Dir, fileName)}
	contents := Contents{Term: embeddedTerm}
	err := os.MkdirAll(config.Dir, 0o700)
	if err == nil {
		contents.Records, err = d.open()
	}
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
	if err != nil {
		return nil, Contents{}, fmt.Errorf("opening the store in %s: %w%s", config.Dir, err, advice(config.Dir, err))
	}
	return d, contents, nil
}

// advice returns what the operator can do about an error, if that is known.
func advice(dir string, err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return describeOwner(dir)
	case errors.Is(err, errInUse):
		return ": run one exporter for each token, each with a directory of its own"
	default:
		return ""
	}
}

var errInUse = errors.New("in use by another process")

// open locks and checks the database, and reads all records. It writes, too, so that a file that cannot be written is
// an error now and not later.
func (d *sqliteDB) open() (records map[string][]byte, err error) {
	if err := d.inspect(); err != nil {
		return nil, err
	}
	if d.db, err = connect(d.path); err != nil {
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
		if records, err = readRecords(tx, embeddedNamespace); err != nil {
			return err
		}
		if _, ok := records[formatKey]; !ok {
			return fmt.Errorf("%w: the record of the format is missing", errDamaged)
		}
		if err := checkFormat(records); err != nil {
			return err
		}
		return writeFormat(tx)
	})
	if err != nil {
		d.db.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	return records, nil
}

// inspect opens the database's files without SQLite, whose errors do not name the cause, and reads the database to its
// end, because SQLite can report an I/O error as damage. It also finds what SQLite overlooks.
func (d *sqliteDB) inspect() error {
	d.files = make(map[string]os.FileInfo)
	journal := d.path + journalSuffix
	size, err := d.inspectFile(d.path, os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		if info, journalErr := os.Stat(journal); journalErr == nil && info.Size() > 0 {
			return fmt.Errorf("%w: there is a journal, but no database", errDamaged)
		}
	}
	if err != nil {
		return err
	}
	if size < minFileSize {
		return fmt.Errorf("%w: the file has only %d bytes", errDamaged, size)
	}
	_, err = d.inspectFile(journal, os.O_RDWR|os.O_CREATE)
	return err
}

// inspectFile opens a file, reads it to its end and keeps its identity.
func (d *sqliteDB) inspectFile(path string, flag int) (size int64, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	header := make([]byte, 20)
	n, err := io.ReadFull(file, header)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	rest, err := io.Copy(io.Discard, file)
	if err != nil {
		return 0, err
	}
	if d.files[path], err = file.Stat(); err != nil {
		return 0, err
	}
	if path == d.path && n == len(header) && (header[18] != header[19] || header[18] != 1 && header[18] != 2) {
		// SQLite would refuse to write to it, because it expects that of a newer version.
		return 0, fmt.Errorf("%w: the version in the file's header is wrong", errDamaged)
	}
	return int64(n) + rest, nil
}

// connect returns the database at path, which must exist. Nothing is opened yet.
//
// The journal is a rollback journal, because SQLite ignores what follows a damaged part of a write-ahead log.
func connect(path string) (*sql.DB, error) {
	query := url.Values{"mode": {"rw"}, "_txlock": {"exclusive"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", lockTimeout.Milliseconds()),
		"locking_mode(EXCLUSIVE)", "journal_mode(TRUNCATE)", "synchronous(FULL)",
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

// create creates a database. It contains ifLost if a damaged one has been moved aside, perhaps by a process that was
// killed before it had created a new one. The file gets its name when it is complete, because an empty file counts as
// damaged, and only if no other process has created one.
func create(path string, ifLost map[string][]byte) error {
	draft, err := os.CreateTemp(filepath.Dir(path), draftPrefix+"*") // with mode 0600
	if err != nil {
		return err
	}
	draft.Close()
	defer os.Remove(draft.Name())                 //nolint:errcheck // it does no harm
	defer os.Remove(draft.Name() + journalSuffix) //nolint:errcheck // likewise
	d := &sqliteDB{}
	if d.db, err = connect(draft.Name()); err != nil {
		return err
	}
	err = d.inTransaction(func(tx *sql.Tx) error {
		if _, err := tx.Exec(recordsTable + " WITHOUT ROWID"); err != nil {
			return err
		}
		if aside, err := filepath.Glob(path + asideSuffix + "*"); err == nil && len(aside) > 0 {
			if err := writeRecords(tx, embeddedNamespace, ifLost); err != nil {
				return err
			}
		}
		return writeFormat(tx)
	})
	if err := errors.Join(err, d.db.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		if err := os.Rename(draft.Name(), path); err != nil { // a file system without links
			return err
		}
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync() //nolint:errcheck // Windows cannot
		dir.Close()
	}
	return nil
}

// writeFormat writes the record of the format. It is deleted first, because SQLite does not write what does not change.
func writeFormat(tx *sql.Tx) error {
	if err := writeRecords(tx, embeddedNamespace, map[string][]byte{formatKey: nil}); err != nil {
		return err
	}
	return writeRecords(tx, embeddedNamespace, map[string][]byte{formatKey: []byte(formatVersion)})
}

// moveAside renames a damaged database, with its journal, and returns its new path.
func (d *sqliteDB) moveAside() (string, error) {
	aside := d.path + asideSuffix + time.Now().UTC().Format("20060102T150405.000Z")
	if damaged, ok := d.files[d.path]; ok {
		if err := os.Rename(d.path, aside); err != nil {
			return "", err
		}
		if renamed, err := os.Stat(aside); err != nil || !os.SameFile(damaged, renamed) {
			// Another process has already replaced the damaged file.
			return "", errors.Join(errInUse, os.Link(aside, d.path), os.Remove(aside))
		}
	}
	err := os.Rename(d.path+journalSuffix, aside+journalSuffix)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return aside, err
}

func (d *sqliteDB) write(_ int64, changes map[string][]byte) error {
	for path, file := range d.files {
		if now, err := os.Stat(path); err != nil || !os.SameFile(now, file) {
			return fmt.Errorf("%s was removed or replaced: nothing is stored until a restart", path)
		}
	}
	return d.inTransaction(func(tx *sql.Tx) error { return writeRecords(tx, embeddedNamespace, changes) })
}

func (d *sqliteDB) acquire() (Contents, Lease, error) { panic("store: an embedded store has no lease") }

func (d *sqliteDB) close(int64) error { return d.db.Close() }

func (d *sqliteDB) inTransaction(f func(*sql.Tx) error) error {
	err := inTransaction(d.db, f)
	if err != nil {
		d.db.Exec("ROLLBACK") //nolint:errcheck,noctx // of a failed commit; else of no effect
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
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOLFS:
		return err
	default: // SQLite does not understand the file
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
}
