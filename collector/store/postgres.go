package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

const (
	// leaseTime is how long a lease lasts after it was taken or renewed.
	leaseTime = 150 * time.Second
	// maxClockDifference is how much the clock of an active replica may differ from the database's.
	maxClockDifference = 5 * time.Second
	// networkTimeout is how long connecting, and each read and write of the connection, may take: less than slowCommit,
	// so that a network that loses all packets is not reported as a slow commit time after time.
	networkTimeout = 4 * time.Second
)

// leaseTable is the statement that creates the table of leases. A former holder is recognized by its term, and the
// lease of an exporter that has failed by the time until which it lasts.
const leaseTable = `CREATE TABLE bilibili_exporter_lease (
	namespace text PRIMARY KEY, term bigint NOT NULL, holder text NOT NULL,
	since timestamptz NOT NULL, until timestamptz NOT NULL)`

// privileges is what the role of the exporter needs, beside the right to connect.
const privileges = `GRANT SELECT, INSERT, UPDATE, DELETE ON bilibili_exporter_records, bilibili_exporter_lease TO …`

// postgresDB is a namespace of a PostgreSQL database. It is accessed in transactions only and keeps nothing in the
// session, so that connection poolers work.
type postgresDB struct {
	db                *sql.DB
	namespace, holder string
	ledger            ledger
	// since is when this process took the lease last. A row that was deleted and created again can repeat its term.
	since time.Time
}

// openPostgres connects to a database, creates its tables if they are missing, and reads all records. It does not take
// the lease.
func openPostgres(config Config) (*postgresDB, Contents, Lease, error) {
	connector, err := newConnector(config.URL)
	if err != nil {
		return nil, Contents{}, Lease{}, err
	}
	p := &postgresDB{
		db: sql.OpenDB(connector), namespace: config.Namespace, holder: config.Holder,
		ledger: ledger{namespace: config.Namespace, numbered: true},
	}
	p.db.SetMaxOpenConns(1)
	err = p.prepare()
	if err == nil {
		var contents Contents
		var lease Lease
		if contents, lease, err = p.load(false); err == nil {
			return p, contents, lease, nil
		}
	}
	p.db.Close() //nolint:errcheck // the first error counts
	return nil, Contents{}, Lease{}, fmt.Errorf("opening the store: %w", err)
}

// newConnector returns a connector for a URL. Its errors do not contain the URL, which may contain a password.
func newConnector(address string) (*pq.Connector, error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") ||
		u.Query().Has("password") || mayContainPassword(u) {
		return nil, errors.New("want a URL such as postgres://user@host/database; in the user and the password only, " +
			"escape special characters as %XX")
	}
	config, err := pq.NewConfig(address)
	if err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = networkTimeout
	}
	if config.ApplicationName == "" {
		config.ApplicationName = "bilibili_exporter"
	}
	connector, err := pq.NewConnectorConfig(config)
	if err == nil {
		connector.Dialer(dialer{})
	}
	return connector, err
}

// mayContainPassword reports whether a part of a URL other than the password contains one, because a character was not
// escaped, or the host is missing.
func mayContainPassword(u *url.URL) bool {
	for host := range strings.SplitSeq(u.Host, ",") {
		if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			return true
		}
	}
	return strings.Contains(u.User.Username(), ":") || strings.Contains(u.EscapedPath()+u.RawQuery+u.Fragment, "@")
}

// dialer connects to a server. The driver waits for responses without a deadline. It must not be a
// [pq.DialerContext], whose other method the driver would call instead.
type dialer struct{}

// Dial implements [pq.Dialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, networkTimeout)
}

// DialTimeout implements [pq.Dialer].
func (dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return deadlineConn{conn}, nil
}

// deadlineConn is a connection whose reads and writes fail if they take too long.
type deadlineConn struct{ net.Conn }

// Read implements [net.Conn].
func (c deadlineConn) Read(b []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(networkTimeout)) //nolint:errcheck // then Read fails, too
	n, err := c.Conn.Read(b)
	return n, withoutSource(err)
}

// Write implements [net.Conn].
func (c deadlineConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(networkTimeout)) //nolint:errcheck // then Write fails, too
	n, err := c.Conn.Write(b)
	return n, withoutSource(err)
}

// withoutSource removes the local port from an error, so that the same error has the same text.
func withoutSource(err error) error {
	if failure, ok := errors.AsType[*net.OpError](err); ok {
		failure.Source = nil
	}
	return err
}

// inTransaction runs f in a transaction. A process that is frozen in one must not keep the others waiting.
func (p *postgresDB) inTransaction(f func(*sql.Tx) error) error {
	return inTransaction(p.db, func(tx *sql.Tx) error {
		_, err := tx.Exec("SET LOCAL lock_timeout = '3s'; SET LOCAL idle_in_transaction_session_timeout = '10s'")
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// prepare makes sure that the database is suitable, that the tables exist and that the role may change them.
func (p *postgresDB) prepare() error {
	err := p.checkSettings()
	if errors.Is(err, pq.ErrSSLNotSupported) {
		return fmt.Errorf("%w; add ?sslmode=disable to the URL if the connection needs no encryption", err)
	}
	if err != nil {
		return err
	}
	err = p.try()
	if pq.As(err, pqerror.UndefinedTable) != nil {
		createErr := p.inTransaction(func(tx *sql.Tx) error {
			_, err := tx.Exec(recordsTable + ";\n" + leaseTable)
			return err
		})
		if err = p.try(); pq.As(err, pqerror.UndefinedTable) != nil { // else another replica has created the tables
			return fmt.Errorf("creating the tables: %w; create them as another role: %s; %s; %s;",
				createErr, oneLine(recordsTable), oneLine(leaseTable), privileges)
		}
	}
	if pq.As(err, pqerror.InsufficientPrivilege) != nil {
		return fmt.Errorf("%w; the role needs these privileges: %s;", err, privileges)
	}
	return err
}

// checkSettings fails if the database cannot hold every text, or does not keep what it has committed.
func (p *postgresDB) checkSettings() error {
	encoding, err := p.show("server_encoding")
	if err != nil {
		return err
	}
	if encoding != "UTF8" && encoding != "SQL_ASCII" {
		return fmt.Errorf("the database has the encoding %s: create one with ENCODING 'UTF8'", encoding)
	}
	for _, name := range []string{"fsync", "synchronous_commit"} {
		switch value, err := p.show(name); {
		case err != nil:
			return err
		case value == "off":
			return fmt.Errorf("the database has %s=off, so it can lose requests that were paid: set %s=on", name, name)
		}
	}
	return nil
}

// show returns the value of a setting.
func (p *postgresDB) show(name string) (value string, err error) {
	err = p.db.QueryRow("SHOW " + name).Scan(&value)
	return value, err
}

// oneLine returns a statement in one line, as it can be copied from a log.
func oneLine(statement string) string { return strings.Join(strings.Fields(statement), " ") }

// try adds the row of the namespace's lease if it is missing. It fails if the role lacks a privilege that will be
// needed.
func (p *postgresDB) try() error {
	return p.inTransaction(func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO bilibili_exporter_records SELECT '', '', '', 0 WHERE false;
			UPDATE bilibili_exporter_records SET value = value WHERE false;
			DELETE FROM bilibili_exporter_records WHERE false;
			UPDATE bilibili_exporter_lease SET term = term WHERE false`)
		if err != nil {
			return err
		}
		return p.insertLease(tx)
	})
}

// insertLease adds the row of the namespace's lease if it is missing.
func (p *postgresDB) insertLease(tx *sql.Tx) error {
	_, err := tx.Exec(`INSERT INTO bilibili_exporter_lease VALUES ($1, 0, '', clock_timestamp(), clock_timestamp())
		ON CONFLICT DO NOTHING`, p.namespace)
	return err
}

// Write implements [Database]. It renews the lease.
func (p *postgresDB) Write(term int64, changes map[string][]byte) error {
	return p.inTransaction(func(tx *sql.Tx) error {
		var now time.Time
		asked := time.Now()
		err := tx.QueryRow(`UPDATE bilibili_exporter_lease SET until = clock_timestamp() + $3 * interval '1 second'
			WHERE namespace = $1 AND term = $2 AND since = $4 RETURNING clock_timestamp()`,
			p.namespace, term, leaseTime.Seconds(), p.since).Scan(&now)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrSuperseded
		}
		if err == nil {
			err = compareClocks(asked, now)
		}
		if err != nil {
			return err
		}
		return p.ledger.write(tx, changes)
	})
}

// Acquire implements [SharedDatabase].
func (p *postgresDB) Acquire() (Contents, Lease, error) { return p.load(true) }

// load reads the lease and all records. If take is true, it first takes the lease if it is free.
func (p *postgresDB) load(take bool) (contents Contents, lease Lease, err error) {
	err = p.inTransaction(func(tx *sql.Tx) error {
		lease, err = p.readLease(tx)
		if errors.Is(err, sql.ErrNoRows) { // someone has deleted it
			if err = p.insertLease(tx); err == nil {
				lease, err = p.readLease(tx)
			}
		}
		if err != nil {
			return err
		}
		neverHeld := lease.Holder == ""
		if take && !lease.Held && lease.Refused == nil {
			if contents.Term, err = p.take(tx, &lease); err != nil {
				return err
			}
		}
		contents.Records, err = p.ledger.read(tx, neverHeld)
		if err != nil || contents.Term == 0 {
			return err
		}
		return p.ledger.write(tx, nil)
	})
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w; if no replica is active, restore a backup, or use another namespace, "+
			"which requests all users again", err)
	}
	return contents, lease, err
}

// held is whether a lease is held, as an expression. One that lasts longer than a lease can is not: the database's
// clock was set back since.
const held = `until > clock_timestamp() AND until <= clock_timestamp() + $2 * interval '1 second'`

// readLease reads the lease, and with it the database's clock.
func (p *postgresDB) readLease(tx *sql.Tx) (lease Lease, err error) {
	var now time.Time
	asked := time.Now()
	err = tx.QueryRow(`SELECT holder, since, `+held+`, clock_timestamp()
		FROM bilibili_exporter_lease WHERE namespace = $1`, p.namespace, leaseTime.Seconds()).
		Scan(&lease.Holder, &lease.Since, &lease.Held, &now)
	if err != nil {
		return Lease{}, fmt.Errorf("reading the lease: %w", err)
	}
	lease.Refused = compareClocks(asked, now)
	return lease, nil
}

// take takes the lease and returns the new term; 0 if another replica was faster.
func (p *postgresDB) take(tx *sql.Tx, lease *Lease) (term int64, err error) {
	err = tx.QueryRow(`UPDATE bilibili_exporter_lease
		SET term = term + 1, holder = $3, since = clock_timestamp(), until = clock_timestamp() + $2 * interval '1 second'
		WHERE namespace = $1 AND NOT (`+held+`) RETURNING term, holder, since, true`,
		p.namespace, leaseTime.Seconds(), p.holder).Scan(&term, &lease.Holder, &lease.Since, &lease.Held)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	p.since = lease.Since
	return term, err
}

// compareClocks fails if the database's clock differs from that of this process, which asked for it at a moment.
func compareClocks(asked, now time.Time) error {
	took := time.Since(asked)
	difference := now.Sub(asked.Add(took / 2)).Round(time.Second) // so that the error has the same text each time
	if difference.Abs() > maxClockDifference+took/2 {
		return fmt.Errorf("the database's clock differs from this machine's by %v, more than %v: synchronize both clocks",
			difference, maxClockDifference)
	}
	return nil
}

// Close implements [Database].
func (p *postgresDB) Close(term int64) (err error) {
	if term != 0 {
		err = p.inTransaction(func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE bilibili_exporter_lease SET until = clock_timestamp()
				WHERE namespace = $1 AND term = $2 AND since = $3`, p.namespace, term, p.since)
			return err
		})
	}
	return errors.Join(err, p.db.Close())
}
