//go:build replicas

package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// failingStart is a start that fails.
type failingStart struct {
	name       string
	empty      bool   // whether the database has no tables; else an exporter has used it
	statements string // that are executed then
	role       string // empty for the superuser
	password   string // empty for the right one
	unused     bool   // whether there is no server at the port
	encrypted  bool   // whether the URL demands encryption, which the server does not have
	want       []string
}

var failingStarts = []failingStart{
	{name: "unreachable", unused: true, want: []string{"connection refused"}},
	{name: "encryption", encrypted: true, want: []string{"SSL is not enabled on the server; add ?sslmode=disable"}},
	{name: "wrong password", password: "wrong-secret", want: []string{"password authentication failed"}},
	{
		name: "read-only role", role: "reader",
		statements: "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
		want:       []string{"permission denied", "GRANT SELECT, INSERT, UPDATE, DELETE ON bilibili_exporter_records"},
	},
	{
		name: "no right to create tables", role: "reader", empty: true,
		want: []string{
			"permission denied for schema public", "create them as another role", "CREATE TABLE bilibili_exporter_records (",
			"CREATE TABLE bilibili_exporter_lease (", "GRANT SELECT, INSERT, UPDATE, DELETE ON",
		},
	},
	{
		name:       "newer format", // the checksum is that of the value 2
		statements: "UPDATE bilibili_exporter_records SET value = '2', checksum = 3499666586 WHERE key = 'format'",
		want:       []string{"the records have format 2, which this program does not know: use a newer version"},
	},
	{
		name:       "tampered record",
		statements: "UPDATE bilibili_exporter_records SET value = replace(value, '1', '2') WHERE key = 'user/1'",
		want:       []string{`damaged: the checksum of record "user/1" is wrong`},
	},
	{
		name:       "missing record of the format",
		statements: "DELETE FROM bilibili_exporter_records WHERE key = 'format'",
		want:       []string{"damaged: the record of the format is missing"},
	},
}

// passwordSources are the ways to pass a password. They return a changed URL, and a variable of the environment.
var passwordSources = map[string]func(t *testing.T, address, password string) (changed, variable string){
	"URL": func(t *testing.T, address, password string) (string, string) {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(u.User.Username(), password)
		return u.String(), "PGPASSWORD="
	},
	"PGPASSWORD": func(_ *testing.T, address, password string) (string, string) {
		return address, "PGPASSWORD=" + password
	},
	"PGPASSFILE": func(t *testing.T, address, password string) (string, string) {
		return address, "PGPASSFILE=" + passwordFile(t, password)
	},
}

// passwordFile writes a file for $PGPASSFILE and returns its path.
func passwordFile(t *testing.T, password string) string {
	t.Helper()
	escaped := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(password)
	return exportertest.WriteFile(t, "pgpass", "127.0.0.1:*:*:*:"+escaped+"\n")
}

// expectNoPassword expects that none of the texts contains a password.
func expectNoPassword(t *testing.T, password string, texts ...string) {
	t.Helper()
	escaped, _ := strings.CutPrefix(url.UserPassword("", password).String(), ":")
	for _, text := range texts {
		for _, form := range []string{password, escaped, url.QueryEscape(password), password[:10], escaped[:10]} {
			if strings.Contains(text, form) {
				t.Errorf("the password is in\n%s", text)
			}
		}
	}
}

// TestFailingStarts starts exporters whose database cannot be used: they exit with status 1 and say why.
func TestFailingStarts(t *testing.T) {
	t.Parallel()
	db, api := pgtest.Start(t), newRecorder(t)
	db.Exec("postgres", fmt.Sprintf("CREATE ROLE reader LOGIN PASSWORD '%s'", pgtest.Password))
	config := api.writeConfig(t, "", "min_interval: 1h", 1)
	for i, test := range failingStarts {
		database := fmt.Sprintf("db%d", i)
		db.Exec("postgres", "CREATE DATABASE "+database)
		if !test.empty {
			p := startReplica(t, config, db.URL(database))
			scrape(t, p)
			p.End(syscall.SIGTERM)
		}
		if test.statements != "" {
			db.Exec(database, test.statements)
		}
		before := dump(db, database)
		for source := range passwordSources {
			t.Run(test.name+"/"+source, func(t *testing.T) { testFailingStart(t, config, db.Port, database, source, test) })
		}
		if after := dump(db, database); after != before {
			t.Errorf("%s: the database changed from\n%s\nto\n%s", test.name, before, after)
		}
	}
}

// dump returns the versions of all records and leases in a database.
func dump(db *pgtest.Server, database string) string {
	if db.Exec(database, "SELECT to_regclass('bilibili_exporter_records')") == "" {
		return ""
	}
	return db.Exec(database, selectVersions) + db.Exec(database, "SELECT xmin, * FROM bilibili_exporter_lease")
}

func testFailingStart(t *testing.T, config string, port int, database, source string, test failingStart) {
	if test.unused {
		port = 1
	}
	password := cmp.Or(test.password, pgtest.Password)
	address, variable := passwordSources[source](t, pgtest.URL(cmp.Or(test.role, "postgres"), port, database), password)
	if test.encrypted {
		address = strings.Replace(address, "sslmode=disable", "sslmode=require", 1)
	}
	cmd := exportertest.Command("--config.file="+config, "--storage.url="+address, "--log.level=debug",
		"--web.listen-address=127.0.0.1:0")
	cmd.Env = append(os.Environ(), variable)
	p := exportertest.Start(t, cmd)
	await(t, 10*time.Second, "it exits", func() bool { _, exited := p.Exited(); return exited })
	if status, _ := p.Exited(); status != 1 {
		t.Errorf("got status %d", status)
	}
	for _, want := range append(test.want, "--storage.url") {
		if !strings.Contains(strings.ReplaceAll(p.Log(), `\"`, `"`), want) {
			t.Errorf("the output lacks %s", want)
		}
	}
	expectNoPassword(t, password, p.Log())
	t.Log(p.Log())
}

// TestPassword looks for the password on all surfaces of an exporter, with and without its database.
func TestPassword(t *testing.T) {
	t.Parallel()
	db, api := pgtest.Start(t), newRecorder(t)
	config := api.writeConfig(t, "", "min_interval: 1s", 1)
	var processes []*exportertest.Process
	for source, change := range passwordSources {
		address, variable := change(t, db.URL("postgres"), pgtest.Password)
		cmd := exportertest.Command("--config.file="+config, "--storage.url="+address, "--log.level=debug",
			"--web.listen-address=127.0.0.1:0", "--storage.namespace="+source)
		cmd.Env = append(os.Environ(), variable)
		processes = append(processes, exportertest.Start(t, cmd))
	}
	for _, p := range processes {
		if !isActive(t, p) {
			t.Error("an exporter is not active")
		}
	}
	expectCleanPages(t, processes)
	db.Exec("postgres", "ALTER ROLE postgres PASSWORD 'changed-meanwhile'")
	db.Restart()
	expectCleanPages(t, processes)
	db.Kill()
	expectCleanPages(t, processes)
	for _, p := range processes {
		p.Await(`(password authentication failed)`)
		p.Await(`(connection refused)`)
		p.End(syscall.SIGTERM)
		expectNoPassword(t, pgtest.Password, p.Log())
	}
}

// expectCleanPages expects that no page of any exporter contains the password.
func expectCleanPages(t *testing.T, processes []*exportertest.Process) {
	t.Helper()
	for _, p := range processes {
		for _, page := range []string{"/metrics", "/", "/config", "/-/ready"} {
			expectNoPassword(t, pgtest.Password, exportertest.Get(t, http.DefaultClient, "http://"+p.Address()+page))
		}
	}
}
