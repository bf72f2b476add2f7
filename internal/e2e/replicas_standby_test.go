//go:build replicas

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/pgtest"
)

// TestStandbyWritesNothing changes the token and the users of a standby, which also finds a record that an active
// replica would delete.
func TestStandbyWritesNothing(t *testing.T) {
	t.Parallel()
	db, api := pgtest.Start(t), newRecorder(t)
	config := api.writeConfig(t, "", "min_interval: 1s", 3)
	token := filepath.Join(filepath.Dir(config), "token")
	writeToken := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeToken("stand-in-token-0123456789")
	exportertest.Replace(t, config, "token: ", "token_file: token, x-token: ")
	exportertest.Replace(t, config, ", x-token: stand-in-token-0123456789", "")
	first := startReplica(t, config, db.URL("postgres"))
	scrape(t, first)
	first.End(syscall.SIGTERM)
	lead(t, db, map[string][]byte{"user/99": []byte(`{"min_interval":1000000000,"removed":"2020-01-01T00:00:00Z"}`)})

	before := db.Exec("postgres", selectVersions)
	requests := api.requests()
	p := startReplica(t, config, db.URL("postgres"))
	scrape(t, p)
	writeToken("another-token-9876543210")
	scrape(t, p)
	exportertest.Replace(t, config, "  - 3\n", "  - 4\n")
	p.Signal(syscall.SIGHUP)
	p.Await(`msg="(Configuration reloaded)"`)
	time.Sleep(time.Second)
	body := scrape(t, p)
	p.End(syscall.SIGTERM)
	if got := samplesWith(body, followers); len(got) != 2 || sample(t, body, activeMetric) != 0 {
		t.Errorf("want a standby with 2 values, got %v", got)
	}
	if after := db.Exec("postgres", selectVersions); after != before || strings.Count(before, "\n") < 5 {
		t.Errorf("the records changed from\n%s\nto\n%s", before, after)
	}
	if api.requests() != requests {
		t.Error("the standby sends requests")
	}
}

// lead makes the test the active replica, until its lease expires, and changes records.
func lead(t *testing.T, db *pgtest.Server, changes map[string][]byte) {
	t.Helper()
	url := db.URL("postgres") + "&passfile=" + passwordFile(t, pgtest.Password)
	s, _, err := store.Open(store.Config{URL: url, Namespace: "default", Holder: "test",
		OnError: func(operation string, err error) { t.Errorf("%s: %v", operation, err) }})
	if err != nil {
		t.Fatal(err)
	}
	_, term, err := s.Lead(t.Context())
	if err != nil || term == 0 {
		t.Fatalf("got term %d and error %v", term, err)
	}
	if err := s.Put(term, changes)(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
}
