package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// version is the version of the file's format. It increases when older programs could not read the file, or would
// misread it.
const version = 1

var (
	recordsBucket  = []byte("records")
	manifestBucket = []byte("manifest")
	manifestKey    = []byte("manifest")

	errDamaged = errors.New("damaged")
)

// manifest summarizes all records, so that a lost or reverted record is detected.
type manifest struct {
	Version uint64
	Count   uint64 // of records
	Digest  uint64 // XOR of their checksums
}

// checksum covers a record's key and value.
func checksum(key, value []byte) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	h.Write(key)
	h.Write(value)
	return h.Sum64()
}

// seal returns a value as it is stored, preceded by the checksum.
func seal(key, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, checksum(key, value)), value...)
}

// unseal returns a stored value and its checksum.
func unseal(key, stored []byte) (value []byte, sum uint64, err error) {
	if len(stored) < 8 {
		return nil, 0, fmt.Errorf("%w: record %q is truncated", errDamaged, key)
	}
	sum, value = binary.BigEndian.Uint64(stored), stored[8:]
	if sum != checksum(key, value) {
		return nil, 0, fmt.Errorf("%w: the checksum of record %q is wrong", errDamaged, key)
	}
	return value, sum, nil
}

// guarded runs f and returns a panic or a memory fault as an error. A damaged file can cause both in package bbolt,
// which reads the file through a memory map.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%w: %v", errDamaged, problem)
		}
	}()
	return f()
}

// create creates a file with the records. The file gets its name when it is complete, because an empty file counts as
// damaged.
func create(path string, records map[string][]byte) (*bbolt.DB, error) {
	draft := path + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return nil, err
	}
	db, err := openDB(draft)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(recordsBucket); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(manifestBucket); err != nil {
			return err
		}
		if err := putManifest(tx, manifest{Version: version}); err != nil {
			return err
		}
		return apply(tx, records)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(draft, path); err != nil {
		return nil, err
	}
	syncDir(filepath.Dir(path))
	return openDB(path)
}

// syncDir makes a new name durable, where directories can be synced.
func syncDir(path string) {
	if dir, err := os.Open(path); err == nil {
		dir.Sync() //nolint:errcheck // Windows cannot
		dir.Close()
	}
}

func openDB(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 500 * time.Millisecond, NoStatistics: true})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is locked by another program", path)
	}
	return db, err
}

// load opens an existing file and reads all its records.
func load(path string) (db *bbolt.DB, records map[string][]byte, err error) {
	if err := checkFile(path); err != nil {
		return nil, nil, err
	}
	records = make(map[string][]byte)
	usable := false // after a panic, the database cannot even be closed
	err = guarded(func() error {
		if db, err = openDB(path); err != nil {
			return err
		}
		err := db.View(func(tx *bbolt.Tx) error { return read(tx, records) })
		usable = true
		return err
	})
	if err != nil && usable {
		db.Close() //nolint:errcheck // it is damaged
	}
	return db, records, err
}

// read reads all records and compares them with the manifest.
func read(tx *bbolt.Tx, records map[string][]byte) error {
	want, err := getManifest(tx)
	if err != nil {
		return err
	}
	bucket := tx.Bucket(recordsBucket)
	if bucket == nil {
		return fmt.Errorf("%w: the records are missing", errDamaged)
	}
	got := manifest{Version: version}
	err = bucket.ForEach(func(key, stored []byte) error {
		value, sum, err := unseal(key, stored)
		if err != nil {
			return err
		}
		records[string(key)] = append([]byte{}, value...)
		got.Count++
		got.Digest ^= sum
		return nil
	})
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: %d records do not match the manifest of %d records", errDamaged, got.Count, want.Count)
	}
	return nil
}

// apply changes records and the manifest.
func apply(tx *bbolt.Tx, changes map[string][]byte) error {
	m, err := getManifest(tx)
	if err != nil {
		return err
	}
	bucket := tx.Bucket(recordsBucket)
	if bucket == nil {
		return fmt.Errorf("%w: the records are missing", errDamaged)
	}
	for key, value := range changes {
		key := []byte(key)
		if old := bucket.Get(key); old != nil {
			_, sum, err := unseal(key, old)
			if err != nil {
				return err
			}
			m.Count--
			m.Digest ^= sum
		}
		if value == nil {
			err = bucket.Delete(key)
		} else {
			m.Count++
			m.Digest ^= checksum(key, value)
			err = bucket.Put(key, seal(key, value))
		}
		if err != nil {
			return err
		}
	}
	return putManifest(tx, m)
}

func getManifest(tx *bbolt.Tx) (manifest, error) {
	var m manifest
	bucket := tx.Bucket(manifestBucket)
	if bucket == nil {
		return m, fmt.Errorf("%w: the manifest is missing", errDamaged)
	}
	value, _, err := unseal(manifestKey, bucket.Get(manifestKey))
	if err != nil {
		return m, err
	}
	if _, err := binary.Decode(value, binary.BigEndian, &m); err != nil {
		return m, fmt.Errorf("%w: the manifest is truncated", errDamaged)
	}
	if m.Version != version {
		return m, fmt.Errorf("%w: unknown format version %d, want %d", errDamaged, m.Version, version)
	}
	return m, nil
}

func putManifest(tx *bbolt.Tx, m manifest) error {
	value, err := binary.Append(nil, binary.BigEndian, m)
	if err != nil {
		return err
	}
	return tx.Bucket(manifestBucket).Put(manifestKey, seal(manifestKey, value))
}
