package store

import (
	"cmp"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	// formatKey is the key of a record that the store itself keeps in every namespace. The format changes when older
	// programs could not read the records, or would misread them.
	//
	// For older programs to recognize a newer format, every future version must keep the tables with these columns, and
	// this record: its key, a value that starts with the format and a space, and its checksum. All else may change.
	formatKey     = "format"
	formatVersion = "1"
)

// recordsTable is the statement that creates the table of records, for both engines.
const recordsTable = `CREATE TABLE bilibili_exporter_records (
	namespace text NOT NULL, key text NOT NULL, value text NOT NULL, checksum bigint NOT NULL,
	PRIMARY KEY (namespace, key))`

// maxRows is how many records a statement changes at most. Engines limit the number of parameters.
const maxRows = 1000

// ledger reads and writes the records of a namespace. With every transaction, it stores the sum of all checksums in the
// record of the format, so that a record that was lost, and records of different transactions, do not match.
type ledger struct {
	namespace string
	// numbered is whether the parameters of statements are numbered, as PostgreSQL requires. SQLite would take the numbers
	// for names, and search for each of them among all others.
	numbered bool
	sums     map[string]int64 // checksums of the records by key
	total    int64            // of sums
}

// read reads all records. A namespace that was never written to may be empty.
func (l *ledger) read(tx *sql.Tx, mayBeEmpty bool) (map[string][]byte, error) {
	records, err := readRecords(tx, l.namespace)
	got, ok := records[formatKey]
	format, _, _ := strings.Cut(string(got), " ")
	if ok && format != formatVersion { // first, because only a newer program can detect whether the others are damaged
		return nil, fmt.Errorf("the records have format %s, which this program does not know: use a newer version", format)
	}
	if err != nil {
		return nil, err
	}
	delete(records, formatKey)
	l.sums, l.total = make(map[string]int64), 0
	l.add(records)
	switch {
	case !ok && mayBeEmpty && len(records) == 0:
		return records, nil
	case !ok:
		return nil, fmt.Errorf("%w: the record of the format is missing", errDamaged)
	case string(got) != l.format():
		return nil, fmt.Errorf("%w: the sum of the checksums is wrong", errDamaged)
	}
	return records, nil
}

// write changes records; nil deletes. After a failure, the next changes must include the ones that have failed.
func (l *ledger) write(tx *sql.Tx, changes map[string][]byte) error {
	l.add(changes)
	all := map[string][]byte{formatKey: []byte(l.format())}
	maps.Copy(all, changes)
	return l.writeRecords(tx, all)
}

// add adds the checksums of changes to those of the records.
func (l *ledger) add(changes map[string][]byte) {
	for key, value := range changes {
		l.total -= l.sums[key]
		delete(l.sums, key)
		if value != nil {
			l.sums[key] = checksum(l.namespace, key, string(value))
			l.total += l.sums[key]
		}
	}
}

// format returns the value of the record of the format.
func (l *ledger) format() string { return fmt.Sprintf("%s %d", formatVersion, l.total) }

// readRecords reads all records of a namespace. Whatever cannot be understood is damage; the others are returned, too.
func readRecords(tx *sql.Tx, namespace string) (map[string][]byte, error) {
	rows, err := tx.Query(`SELECT key, value, checksum FROM bilibili_exporter_records WHERE namespace = $1`, namespace)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the error
	records := make(map[string][]byte)
	var damage error
	for rows.Next() {
		var key string
		var value []byte
		var sum int64
		switch err := rows.Scan(&key, &value, &sum); {
		case err != nil:
			damage = fmt.Errorf("%w: %w", errDamaged, err)
		case sum != checksum(namespace, key, string(value)):
			damage = fmt.Errorf("%w: the checksum of record %q is wrong", errDamaged, key)
		default:
			records[key] = value
		}
	}
	return records, cmp.Or(rows.Err(), damage)
}

// writeRecords changes records, without counting their checksums; nil deletes.
func (l *ledger) writeRecords(tx *sql.Tx, changes map[string][]byte) error {
	var puts, deletes []any
	for key, value := range changes {
		if value == nil {
			deletes = append(deletes, l.namespace, key)
		} else {
			puts = append(puts, l.namespace, key, string(value), checksum(l.namespace, key, string(value)))
		}
	}
	if err := l.execRows(tx, deletes, 2,
		`DELETE FROM bilibili_exporter_records WHERE (namespace, key) IN (VALUES `, `)`); err != nil {
		return err
	}
	return l.execRows(tx, puts, 4, `INSERT INTO bilibili_exporter_records (namespace, key, value, checksum) VALUES `,
		` ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum`)
}

// execRows executes a statement with rows of parameters between its two parts, several times if there are many rows.
func (l *ledger) execRows(tx *sql.Tx, parameters []any, columns int, before, after string) error {
	for chunk := range slices.Chunk(parameters, columns*maxRows) {
		var statement strings.Builder
		statement.WriteString(before)
		for i := range chunk {
			separator := ", "
			switch {
			case i == 0:
				separator = "("
			case i%columns == 0:
				separator = "), ("
			}
			if l.numbered {
				statement.WriteString(separator + "$" + strconv.Itoa(i+1))
			} else {
				statement.WriteString(separator + "?")
			}
		}
		statement.WriteString(")" + after)
		if _, err := tx.Exec(statement.String(), chunk...); err != nil {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers all of a record.
func checksum(namespace, key, value string) int64 {
	var sum uint32
	for _, text := range []string{namespace, key, value} {
		sum = crc32.Update(sum, castagnoli, binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		sum = crc32.Update(sum, castagnoli, []byte(text))
	}
	return int64(sum)
}

// inTransaction runs f in a transaction of its own.
func inTransaction(db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after the commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
