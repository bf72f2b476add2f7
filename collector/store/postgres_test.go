//go:build replicas

package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

func init() {
	engines["PostgreSQL"] = func(t *testing.T) func(t *testing.T) Config {
		server := startServer(t)
		dumpDatabase = server.dump
		return server.config
	}
}

// pgServer is a PostgreSQL server with a password in the environment.
type pgServer struct{ *pgtest.Server }

func startServer(t *testing.T) pgServer {
	t.Helper()
	t.Setenv("PGPASSWORD", pgtest.Password)
	return pgServer{pgtest.Start(t)}
}

// config returns the configuration of a store in a namespace that no other test uses.
func (s pgServer) config(t *testing.T) Config {
	t.Helper()
	return Config{URL: s.URL("postgres"), Namespace: t.Name(), Holder: "test"}
}

func (s pgServer) dump(t *testing.T) string {
	t.Helper()
	return s.Exec("postgres", "SELECT * FROM bilibili_exporter_records ORDER BY namespace, key") + "\n" +
		s.Exec("postgres", "SELECT * FROM bilibili_exporter_lease ORDER BY namespace")
}

// expire ends all leases.
func (s pgServer) expire() {
	s.Exec("postgres", "UPDATE bilibili_exporter_lease SET until = clock_timestamp() - interval '1 second'")
}

// mustLead leads and checks the term that the store then has.
func mustLead(t *testing.T, s *Store, want int64) (records map[string][]byte) {
	t.Helper()
	records, term, err := s.Lead(t.Context())
	if err != nil || term != want {
		t.Fatalf("Lead: got term %d, %v, want %d", term, err, want)
	}
	if active, _ := s.Lease(); active != (want != 0) {
		t.Errorf("Lease: got active %v in term %d", active, want)
	}
	return records
}

// TestPostgres tests what only the shared store does.
func TestPostgres(t *testing.T) {
	server := startServer(t)
	for name, test := range map[string]func(*testing.T, pgServer){
		"FirstStart": testFirstStart, "Privileges": testPrivileges, "Tampered": testTampered, "Lease": testLease,
		"Clocks": testClocks, "Password": testPassword, "Frozen": testFrozen, "Restart": testRestart,
		"PasswordFile": testPasswordFile, "Locked": testLocked, "DeletedLease": testDeletedLease,
		"ClockSetBack": testClockSetBack, "Lost": testLost, "Encoding": testEncoding,
		"Durability": testDurability, "LostCommits": testLostCommits,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// testFirstStart starts several replicas at once on an empty database. One of them becomes active.
func testFirstStart(t *testing.T, server pgServer) {
	for round := range 5 {
		database := fmt.Sprint("first", round)
		server.Exec("postgres", "CREATE DATABASE "+database)
		var all sync.WaitGroup
		var active, standby atomic.Int32
		var stores [5]*Store
		for i := range stores {
			all.Go(func() {
				s, _, err := Open(Config{URL: server.URL(database), Namespace: "x", Holder: fmt.Sprint(i),
					OnError: func(operation string, err error) { t.Errorf("%s: %v", operation, err) }})
				if err != nil {
					t.Error(err)
					return
				}
				stores[i] = s
				switch _, term, err := s.Lead(t.Context()); {
				case err != nil:
					t.Error(err)
				case term == 0:
					standby.Add(1)
				default:
					active.Add(1)
				}
			})
		}
		all.Wait()
		if active.Load() != 1 || standby.Load() != 4 {
			t.Errorf("got %d active and %d on standby, want 1 and 4", active.Load(), standby.Load())
		}
		for _, s := range stores {
			if s != nil {
				s.Close(t.Context())
			}
		}
	}
}

// testPrivileges opens the store with roles that lack privileges. The errors say which, and following them helps.
func testPrivileges(t *testing.T, server pgServer) {
	server.Exec("postgres", "CREATE DATABASE privileges")
	server.Exec("postgres", "CREATE ROLE exporter LOGIN PASSWORD 'secret'")
	t.Setenv("PGPASSWORD", "secret")
	config := Config{URL: pgtest.URL("exporter", server.Port, "privileges"), Namespace: "default"}
	fail := func(text string) (statements string) {
		t.Helper()
		_, _, err := Open(config)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("got %v, want %s", err, text)
		}
		_, statements, found := strings.Cut(err.Error(), "create them as another role: ")
		if !found {
			_, statements, _ = strings.Cut(err.Error(), "the role needs these privileges: ")
		}
		return strings.ReplaceAll(statements, "…", "exporter")
	}
	create := fail("creating the tables: pq: permission denied for schema public")
	_, grant, _ := strings.Cut(create, "GRANT")
	server.Exec("privileges", strings.TrimSuffix(create, "GRANT"+grant))
	for _, granted := range []string{
		"", "GRANT SELECT ON bilibili_exporter_records, bilibili_exporter_lease TO exporter",
	} {
		server.Exec("privileges", granted)
		if got := fail("permission denied for table bilibili_exporter_"); got != "GRANT"+grant {
			t.Errorf("got %q, want %q", got, "GRANT"+grant)
		}
	}
	server.Exec("privileges", "GRANT"+grant)
	s, _, _ := mustOpen(t, config)
	mustPut(t, s, records("a", "1"))
	mustPut(t, s, map[string][]byte{"a": nil, "b": []byte("1")})
	s.Close(t.Context())
	mustHave(t, config, records("b", "1"))
}

// testTampered changes a record. Then no store opens, and a standby keeps its records and does not become active.
func testTampered(t *testing.T, server pgServer) {
	config := server.config(t)
	first, _, _ := mustOpen(t, config)
	defer first.Close(t.Context())
	mustPut(t, first, records("a", "1", "b", "1"))
	standby, _, reported := mustOpen(t, config)
	defer standby.Close(t.Context())
	mustLead(t, standby, 0)
	update := "UPDATE bilibili_exporter_records SET value = '%d' WHERE key = 'b'"
	server.Exec("postgres", fmt.Sprintf(update, 2))
	before := server.dump(t)
	want := `damaged: the checksum of record "b" is wrong; if no replica is active, restore a backup, or use another ` +
		"namespace, which requests all users again"
	if _, _, err := Open(config); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Open: got %v, want %s", err, want)
	}
	if after := server.dump(t); after != before {
		t.Errorf("got\n%s, want\n%s", after, before)
	}
	server.expire()
	for range 2 {
		if got, term, err := standby.Lead(t.Context()); got != nil || term != 0 || err == nil || err.Error() != want {
			t.Errorf("Lead: got %q, %d, %v, want %s", got, term, err, want)
		}
		if active, _ := standby.Lease(); active {
			t.Error("the standby is active")
		}
	}
	if list, _ := reported.get(); len(list) != 2 || list[0] != "read: "+want {
		t.Errorf("got %q, want 2 times %s", list, want)
	}
	server.Exec("postgres", fmt.Sprintf(update, 1))
	if got := mustLead(t, standby, 2); !equal(got, records("a", "1", "b", "1")) {
		t.Errorf("got %q", got)
	}
	if _, recoveries := reported.get(); recoveries != 1 {
		t.Errorf("got %d recoveries, want 1", recoveries)
	}
}

func testLease(t *testing.T, server pgServer) {
	config := server.config(t)
	until := func() string {
		return server.Exec("postgres", "SELECT until FROM bilibili_exporter_lease WHERE namespace = '"+config.Namespace+"'")
	}
	config.Holder = "first"
	first, contents, reported := mustOpen(t, config)
	if active, _ := first.Lease(); active || contents.Term != 0 {
		t.Error("opening takes the lease")
	}
	if got := mustLead(t, first, 1); got == nil {
		t.Error("taking the lease does not return the records")
	}
	config.Holder = "second"
	second, _, _ := mustOpen(t, config)
	put := func(s *Store, term int64, changes map[string][]byte) error { return s.Put(term, changes)(t.Context()) }
	if err := put(first, 1, records("a", "1")); err != nil {
		t.Error(err)
	}

	// The standby reads, and writes nothing.
	before := server.dump(t)
	if got := mustLead(t, second, 0); !equal(got, records("a", "1")) {
		t.Errorf("the standby got %q", got)
	}
	if _, lease := second.Lease(); lease.Holder != "first" || !lease.Held || lease.Refused != nil ||
		time.Since(lease.Since).Abs() > time.Minute {
		t.Errorf("got %+v", lease)
	}
	if err := put(second, 1, records("a", "2")); !errors.Is(err, ErrSuperseded) {
		t.Errorf("Put under a term of another replica: got %v", err)
	}
	if err := put(second, 0, records("a", "3")); !errors.Is(err, ErrSuperseded) {
		t.Errorf("Put on standby: got %v", err)
	}
	if after := server.dump(t); after != before {
		t.Errorf("the standby has written:\n%s\nwant\n%s", after, before)
	}

	// Writing and leading renew the lease, also after it has expired, if no other replica has taken it.
	for _, renew := range []func(){
		func() {
			if err := put(first, 1, records("a", "4")); err != nil {
				t.Error(err)
			}
		},
		func() {
			if got := mustLead(t, first, 1); got != nil {
				t.Errorf("renewing the lease returns %q", got)
			}
		},
	} {
		for range 2 {
			before := until()
			renew()
			if after := until(); after <= before {
				t.Errorf("the lease lasts until %s, and until %s before", after, before)
			}
			server.expire()
		}
	}

	// Another replica takes it. The former holder writes nothing, not even what it has queued.
	if got := mustLead(t, second, 2); !equal(got, records("a", "4")) {
		t.Errorf("got %q", got)
	}
	before = server.dump(t)
	first.Put(1, records("b", "5"))
	if err := put(first, 1, records("a", "5")); !errors.Is(err, ErrSuperseded) {
		t.Errorf("Put of a former holder: got %v", err)
	}
	if err := put(first, 1, records("a", "6")); !errors.Is(err, ErrSuperseded) {
		t.Errorf("a second Put of a former holder: got %v", err)
	}
	if got := mustLead(t, first, 0); !equal(got, records("a", "4")) {
		t.Errorf("the former holder got %q", got)
	}
	if list, recoveries := reported.get(); len(list) > 0 || recoveries > 0 ||
		!slices.Equal(reported.lost, []string{"a", "b"}) {
		t.Errorf("got reports %q, %d recoveries and lost records %q, want only a and b lost", list, recoveries, reported.lost)
	}
	if after := server.dump(t); after != before {
		t.Errorf("the former holder has written:\n%s\nwant\n%s", after, before)
	}

	// A former holder may also notice when it renews the lease.
	server.expire()
	mustLead(t, first, 3)
	if got := mustLead(t, second, 0); got == nil {
		t.Error("the former holder has not reloaded the records")
	}

	// Close gives up the lease.
	first.Close(t.Context())
	mustLead(t, second, 4)
	second.Close(t.Context())
	if _, _, err := second.Lead(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Lead after Close: got %v", err)
	}
}

// testLost deletes records. That is damage, whichever are left.
func testLost(t *testing.T, server pgServer) {
	config := server.config(t)
	s, _, _ := mustOpen(t, config)
	mustPut(t, s, records("a", "1", "b", "1"))
	s.Close(t.Context())
	for _, condition := range []string{"key = 'a'", "key = 'b'", "key = 'format'", "true"} {
		server.Exec("postgres", "CREATE TABLE kept AS SELECT * FROM bilibili_exporter_records")
		server.Exec("postgres", "DELETE FROM bilibili_exporter_records WHERE "+condition)
		if _, _, err := Open(config); !errors.Is(err, errDamaged) {
			t.Errorf("without the records of %s: got %v, want damage", condition, err)
		}
		server.Exec("postgres", "TRUNCATE bilibili_exporter_records; "+
			"INSERT INTO bilibili_exporter_records SELECT * FROM kept; DROP TABLE kept")
	}
	mustHave(t, config, records("a", "1", "b", "1"))
}

// testLostCommits loses commits, as a failover can. The active replica continues, and a standby reports damage until
// what was lost has been written again.
func testLostCommits(t *testing.T, server pgServer) {
	active, _, _ := mustOpen(t, server.config(t))
	defer active.Close(t.Context())
	mustPut(t, active, records("a", "1", "b", "1"))
	standby, _, _ := mustOpen(t, server.config(t))
	defer standby.Close(t.Context())
	server.Exec("postgres", "CREATE TABLE before AS SELECT * FROM bilibili_exporter_records")
	mustPut(t, active, records("a", "2", "b", "2", "c", "2"))
	server.Exec("postgres", "DELETE FROM bilibili_exporter_records WHERE namespace IN (SELECT namespace FROM before)")
	server.Exec("postgres", "INSERT INTO bilibili_exporter_records SELECT * FROM before; DROP TABLE before")
	for _, key := range []string{"a", "b"} {
		mustPut(t, active, records(key, "3"))
		if _, _, err := standby.Lead(t.Context()); !errors.Is(err, errDamaged) {
			t.Errorf("after a write of %s: got %v, want damage", key, err)
		}
	}
	mustPut(t, active, records("c", "3"))
	if got := mustLead(t, standby, 0); !equal(got, records("a", "3", "b", "3", "c", "3")) {
		t.Errorf("got %q", got)
	}
}

// testEncoding has a database that cannot hold every text.
func testEncoding(t *testing.T, server pgServer) {
	server.Exec("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
	config := server.config(t)
	config.URL = server.URL("latin")
	want := "the database has the encoding LATIN1: create one with ENCODING 'UTF8'"
	if _, _, err := Open(config); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// testDurability has databases that can lose commits.
func testDurability(t *testing.T, server pgServer) {
	server.Exec("postgres", "CREATE DATABASE durability")
	config := server.config(t)
	config.URL = server.URL("durability")
	for _, test := range []struct{ name, value, want string }{
		{"synchronous_commit", "off", "the database has synchronous_commit=off, so it can lose requests that were paid: " +
			"set synchronous_commit=on"},
		{"synchronous_commit", "local", ""},
		{"fsync", "off", "the database has fsync=off, so it can lose requests that were paid: set fsync=on"},
		{"fsync", "on", ""},
	} {
		server.Exec("postgres", fmt.Sprintf("ALTER SYSTEM SET %s = %s", test.name, test.value))
		server.Exec("postgres", "SELECT pg_reload_conf()")
		for server.Exec("postgres", "SHOW "+test.name) != test.value {
			time.Sleep(10 * time.Millisecond)
		}
		switch s, _, err := Open(config); {
		case err == nil:
			s.Close(t.Context())
			if test.want != "" {
				t.Errorf("%s=%s: got no error, want %s", test.name, test.value, test.want)
			}
		case test.want == "" || !strings.HasSuffix(err.Error(), test.want):
			t.Errorf("%s=%s: got %v, want %q", test.name, test.value, err, test.want)
		}
	}
}

// testClocks has a database whose clock differs. A function of the same name is found before PostgreSQL's.
func testClocks(t *testing.T, server pgServer) {
	server.Exec("postgres", "CREATE SCHEMA late")
	server.Exec("postgres", "CREATE TABLE late.difference AS SELECT interval '0 s' AS d")
	server.Exec("postgres", `CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
		'SELECT pg_catalog.clock_timestamp() + d FROM late.difference'`)
	set := func(difference time.Duration) {
		server.Exec("postgres", fmt.Sprintf("UPDATE late.difference SET d = interval '%v ms'", difference.Milliseconds()))
	}
	config := server.config(t)
	config.URL += "&search_path=late,pg_catalog"
	s, _, reported := mustOpen(t, config)
	defer s.Close(t.Context())
	for _, difference := range []time.Duration{8 * time.Second, -8 * time.Second, time.Hour} {
		set(difference)
		mustLead(t, s, 0)
		_, lease := s.Lease()
		if lease.Refused == nil || !strings.Contains(lease.Refused.Error(), "clock differs from this machine's by") ||
			strings.Contains(lease.Refused.Error(), "by -") != (difference < 0) {
			t.Errorf("a difference of %v: got %v", difference, lease.Refused)
		}
	}
	set(2 * time.Second)
	mustLead(t, s, 1)
	if err := s.Put(1, records("a", "1"))(t.Context()); err != nil {
		t.Error(err)
	}
	set(8 * time.Second)
	if err := s.Put(1, records("a", "2"))(t.Context()); err == nil || !strings.Contains(err.Error(), "clock differs") {
		t.Errorf("a write when the clocks differ: got %v", err)
	}
	if list, _ := reported.get(); len(list) != 1 {
		t.Errorf("got %q, want one report", list)
	}
	set(0)
	mustLead(t, s, 1)
	s.Close(t.Context())
	mustHave(t, config, records("a", "2"))
}

// testPassword checks that no error shows the password, or a part of it.
func testPassword(t *testing.T, server pgServer) {
	t.Setenv("PGPASSWORD", "")
	os.Unsetenv("PGPASSWORD") //nolint:errcheck // it cannot fail
	config := server.config(t)
	good := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", pgtest.Password), Path: "/postgres",
		Host: fmt.Sprintf("127.0.0.1:%d", server.Port), RawQuery: "sslmode=disable"}
	config.URL = good.String()
	s, _, _ := mustOpen(t, config)
	s.Close(t.Context())

	host := good.Host + "/postgres?sslmode=disable"
	var addresses []string
	for _, password := range []string{
		pgtest.Password, "wrongSECRET", "SECRET/SECRET", "SECRET?SECRET", "SECRET#SECRET", "SECRET@SECRET", "SECRET:SECRET",
		"SECRET%SECRET", "SECRET SECRET", `SECRET\SECRET`, "SECRET'SECRET", "1234/SECRET", "1234?SECRET", "1234#SECRET",
		"1234/SECRET?SECRET&SECRET=x", "SECRET\nSECRET", "[SECRET", "SECRET%ZZ", "%53ECRET%00", "SECRET&SECRET=SECRET",
	} {
		addresses = append(addresses, "postgres://postgres:"+password+"@"+host, "postgres://:"+password+"@"+host,
			"postgres:postgres:"+password+"@"+host, "postgres:/"+password+"@"+host, "mysql://postgres:"+password+"@"+host,
			"postgres://"+host+"&password="+password, "host=127.0.0.1 password="+password, password, ":"+password)
	}
	addresses = append(addresses, "postgres://postgres:SECRET@"+host+"&sslmode=SECRET",
		"postgres://postgres:SECRET@127.0.0.1:1/postgres", "postgres://postgres:SECRET@nowhere.invalid/postgres",
		"POSTGRES://postgres:SECRET@"+host, "postgres://postgres:SECRET:5432/postgres",
		"postgres://postgres%3ASECRET@"+host, "postgres://h1,postgres:SECRET:1/postgres",
		"postgres://postgres:SECRET@127.0.0.1:port/postgres", "postgres://postgres:SECRET@[::1/postgres",
		"postgres://postgres:SECRET@"+good.Host+"/nothere?sslmode=disable",
		"postgres://postgres:SECRET@"+good.Host+"/postgres?sslmode=require")
	for _, address := range addresses {
		config := config
		config.URL = address
		s, _, err := Open(config)
		if err == nil {
			s.Close(t.Context())
			t.Errorf("%s: got no error", address)
			continue
		}
		if text := err.Error(); strings.Contains(text, "SECRET") || strings.Contains(text, "pässword") ||
			strings.Contains(text, "special?") {
			t.Errorf("%q: the error shows the password: %v", address, err)
		}
	}
}

// proxy is a TCP proxy before a server that can stop to forward anything.
type proxy struct {
	net.Listener
	mu     sync.RWMutex // held while nothing is forwarded
	target string
	all    sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: listener, target: target}
	p.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				client.Close()
				continue
			}
			p.all.Go(func() { p.forward(client, server) })
			p.all.Go(func() { p.forward(server, client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.all.Wait()
	})
	return p
}

func (p *proxy) forward(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		p.mu.RLock()
		p.mu.RUnlock() //nolint:staticcheck // it waits
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// testFrozen has a server that accepts connections and never responds.
func testFrozen(t *testing.T, server pgServer) {
	proxy := startProxy(t, fmt.Sprintf("127.0.0.1:%d", server.Port))
	config := server.config(t)
	config.URL = pgtest.URL("postgres", proxy.Addr().(*net.TCPAddr).Port, "postgres")
	s, _, reported := mustOpen(t, config)
	defer s.Close(t.Context())
	mustPut(t, s, records("a", "1"))
	thaw := sync.OnceFunc(proxy.mu.Unlock)
	proxy.mu.Lock()
	defer thaw()
	start := time.Now()
	if _, _, err := Open(config); err == nil || time.Since(start) > 12*time.Second {
		t.Errorf("Open: got %v after %v", err, time.Since(start))
	}
	cause := errors.New("end")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
	defer cancel()
	start = time.Now()
	if _, term, err := s.Lead(ctx); term != 1 || err != nil { // the lease was renewed a moment ago
		t.Errorf("Lead: got term %d, %v", term, err)
	}
	if err := s.Put(1, records("b", "1"))(ctx); !errors.Is(err, cause) || time.Since(start) > time.Second {
		t.Errorf("Put: got %v after %v", err, time.Since(start))
	}
	timedOut := func(report string) bool { return strings.Contains(report, "i/o timeout") }
	for list := []string(nil); !slices.ContainsFunc(list, timedOut); list, _ = reported.get() {
		if time.Sleep(100 * time.Millisecond); time.Since(start) > 60*time.Second {
			t.Errorf("a write never ends; got reports %q", list)
			return
		}
	}
	t.Logf("after %v", time.Since(start))
	thaw()
	for time.Since(start) < 30*time.Second {
		if err := s.Put(1, records("c", "1"))(t.Context()); err == nil {
			break
		}
	}
	s.Close(t.Context())
	mustHave(t, config, records("a", "1", "b", "1", "c", "1"))
}

// testDeletedLease deletes the row of the lease. The next replica takes it, and the former holder writes nothing,
// although the term has the same number.
func testDeletedLease(t *testing.T, server pgServer) {
	first, _, _ := mustOpen(t, server.config(t))
	defer first.Close(t.Context())
	mustLead(t, first, 1)
	second, _, _ := mustOpen(t, server.config(t))
	defer second.Close(t.Context())
	server.Exec("postgres", "DELETE FROM bilibili_exporter_lease")
	mustLead(t, second, 1)
	if err := first.Put(1, records("a", "1"))(t.Context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("Put of the former holder: got %v", err)
	}
	if err := second.Put(1, records("a", "2"))(t.Context()); err != nil {
		t.Error(err)
	}
	mustLead(t, first, 0)
}

// testClockSetBack has a lease that lasts longer than a lease can, because the database's clock was set back. It is
// free.
func testClockSetBack(t *testing.T, server pgServer) {
	first, _, _ := mustOpen(t, server.config(t))
	defer first.Close(t.Context())
	mustLead(t, first, 1)
	second, _, _ := mustOpen(t, server.config(t))
	defer second.Close(t.Context())
	mustLead(t, second, 0)
	server.Exec("postgres", "UPDATE bilibili_exporter_lease SET until = clock_timestamp() + interval '1 hour'")
	mustLead(t, second, 2)
	mustLead(t, first, 0)
}

// testRestart restarts the server between two writes, as a crash would. The term lasts.
func testRestart(t *testing.T, server pgServer) {
	config := server.config(t)
	s, _, _ := mustOpen(t, config)
	mustPut(t, s, records("a", "1"))
	server.Restart()
	if err := s.Put(1, records("b", "1"))(t.Context()); err != nil {
		t.Logf("the first write fails: %v", err)
	}
	if err := s.Put(1, records("c", "1"))(t.Context()); err != nil {
		t.Errorf("the second write fails: %v", err)
	}
	server.Kill()
	if err := s.Put(1, records("d", "1"))(t.Context()); err == nil {
		t.Error("a write without a server succeeds")
	}
	server.Resume()
	if got := mustLead(t, s, 1); got != nil {
		t.Errorf("got %q, although the term is the same", got)
	}
	s.Close(t.Context())
	mustHave(t, config, records("a", "1", "b", "1", "c", "1", "d", "1"))
}

func testPasswordFile(t *testing.T, server pgServer) {
	t.Setenv("PGPASSWORD", "")
	os.Unsetenv("PGPASSWORD") //nolint:errcheck // it cannot fail
	file := filepath.Join(t.TempDir(), "pgpass")
	escaped := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(pgtest.Password)
	mustWrite(t, file, fmt.Appendf(nil, "127.0.0.1:%d:*:postgres:%s\n", server.Port, escaped))
	t.Setenv("PGPASSFILE", file)
	s, _, _ := mustOpen(t, server.config(t))
	mustPut(t, s, records("a", "1"))
	s.Close(t.Context())
}

// testLocked has another session lock the lease. Writes fail, and do not wait for it.
func testLocked(t *testing.T, server pgServer) {
	config := server.config(t)
	s, _, _ := mustOpen(t, config)
	defer s.Close(t.Context())
	mustPut(t, s, records("a", "1"))
	other, _, _, err := openPostgres(config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(0) //nolint:errcheck // it changed nothing
	tx, err := other.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1 FROM bilibili_exporter_lease FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.Put(1, records("b", "1"))(t.Context()); err == nil || time.Since(start) > 6*time.Second {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(1, nil)(t.Context()); err != nil {
		t.Error(err)
	}
}
