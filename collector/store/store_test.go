package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// problems collects what a store reports.
type problems struct {
	mu   sync.Mutex // protects the following field
	list []string
}

func (p *problems) add(operation string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, fmt.Sprintf("%s: %v", operation, err))
}

func (p *problems) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list)
}

// lost are the records of stores that follow a damaged one.
var lost = map[string][]byte{"lost": []byte("yes")}

func mustOpen(t *testing.T, dir string) (*Store, Contents, *problems) {
	t.Helper()
	reported := &problems{}
	s, contents, err := Open(Config{Dir: dir, OnError: reported.add, IfLost: lost})
	if err != nil {
		t.Fatal(err)
	}
	return s, contents, reported
}

// put stores records and waits for them.
func put(s *Store, records map[string][]byte) { s.Put(records)(context.Background()) }

func records(pairs ...string) map[string][]byte {
	m := make(map[string][]byte)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

func equal(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	s, contents, _ := mustOpen(t, dir)
	if len(contents.Records) > 0 || contents.SetAside != "" {
		t.Errorf("a new store holds %+v", contents)
	}
	put(s, records("a", "1", "b", "2", "c", ""))
	put(s, map[string][]byte{"a": []byte("3"), "b": nil, "none": nil})
	s.Put(records("d", "only queued")) // Close brings it to disk
	s.Close(t.Context())
	s, contents, _ = mustOpen(t, dir)
	defer s.Close(t.Context())
	if want := records("a", "3", "c", "", "d", "only queued"); !equal(contents.Records, want) {
		t.Errorf("got %q, want %q", contents.Records, want)
	}
	for path, want := range map[string]os.FileMode{
		dir: 0o700, filepath.Join(dir, fileName): 0o600, filepath.Join(dir, lockName): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
}

// TestOrder puts in one order and waits in another: the last put wins.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := mustOpen(t, dir)
	var waits []func(context.Context)
	for i := range 100 {
		waits = append(waits, s.Put(records("key", fmt.Sprint(i))))
	}
	var all sync.WaitGroup
	for _, wait := range waits {
		all.Go(func() { wait(t.Context()) })
	}
	all.Wait()
	s.Close(t.Context())
	s, contents, _ := mustOpen(t, dir)
	defer s.Close(t.Context())
	if got := string(contents.Records["key"]); got != "99" {
		t.Errorf("got %s, want 99", got)
	}
}

// TestGroupCommit lets many wait at once: they share transactions.
func TestGroupCommit(t *testing.T) {
	s, _, _ := mustOpen(t, t.TempDir())
	defer s.Close(t.Context())
	transaction := func() (id int) {
		if err := s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
			t.Fatal(err)
		}
		return id
	}
	before := transaction()
	var waits []func(context.Context)
	for i := range 1000 {
		waits = append(waits, s.Put(records(fmt.Sprint(i), "x")))
	}
	var all sync.WaitGroup
	for _, wait := range waits {
		all.Go(func() { wait(t.Context()) })
	}
	all.Wait()
	if got := transaction() - before; got != 1 {
		t.Errorf("1000 changes that were queued together took %d transactions, want 1", got)
	}
}

// TestWaitForAll waits, without changes, for those of others.
func TestWaitForAll(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := mustOpen(t, dir)
	s.Put(nil)(t.Context()) // nothing to wait for
	s.Put(records("a", "1"))
	s.Put(nil)(t.Context())
	copied, err := os.ReadFile(filepath.Join(dir, fileName)) // as after a kill
	if err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context())
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, fileName), copied, 0o600); err != nil {
		t.Fatal(err)
	}
	s, contents, _ := mustOpen(t, other)
	defer s.Close(t.Context())
	if !equal(contents.Records, records("a", "1")) {
		t.Errorf("got %q", contents.Records)
	}
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := mustOpen(t, dir)
	start := time.Now()
	_, _, err := Open(Config{Dir: dir})
	want := "opening the store: " + dir + " is in use by another process: " +
		"run one exporter for each token, each with a directory of its own"
	if err == nil || err.Error() != want || time.Since(start) > time.Second {
		t.Errorf("got %v after %v, want %s within a second", err, time.Since(start), want)
	}
	s.Close(t.Context())
	s, _, _ = mustOpen(t, dir)
	s.Close(t.Context())
}

func TestUnusablePath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/nowhere"} {
		if s, _, err := Open(Config{Dir: dir}); err == nil {
			s.Close(t.Context())
			t.Errorf("%s: got no error", dir)
		}
	}
}

// written returns a store's file with many records in it, written in several
// transactions, and the records.
func written(t *testing.T) ([]byte, map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	s, _, _ := mustOpen(t, dir)
	want := make(map[string][]byte)
	for round := range 4 {
		changes := make(map[string][]byte)
		for i := range 300 {
			changes[fmt.Sprintf("user/%d", i)] = fmt.Appendf(nil, `{"followers":41539%02d,"round":%d}`, i%100, round)
		}
		put(s, changes)
		maps.Copy(want, changes)
	}
	s.Close(t.Context())
	content, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return content, want
}

// TestDamage opens files that are damaged in every way: each is moved aside, kept
// as it was, and a new store begun that works.
func TestDamage(t *testing.T) {
	content, want := written(t)
	noise := make([]byte, len(content))
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	good, bad := []byte(`"followers":4153942,"round":3`), []byte(`"followers":4153943,"round":3`)
	withDigit := bytes.Replace(content, good, bad, 1)
	cases := map[string][]byte{
		"noise": noise, "empty": {}, "text": []byte("hello"), "one changed digit": withDigit,
		"wrong version": otherVersion(t, content),
	}
	page := os.Getpagesize()
	for pages := 1; pages*page < len(content); pages++ {
		cases[fmt.Sprintf("cut to %d pages", pages)] = content[:pages*page]
	}
	cases["cut in a page"] = content[:len(content)/2+100]
	for name, damaged := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s, contents, reported := mustOpen(t, dir)
			if strings.HasPrefix(name, "cut to") && contents.SetAside == "" {
				if !equal(contents.Records, want) { // only free pages were cut off
					t.Errorf("got other records than were written")
				}
				s.Close(t.Context())
				return
			}
			if !equal(contents.Records, lost) || contents.Damage == nil || reported.count() != 1 {
				t.Errorf("got %d records, damage %v, reported %q", len(contents.Records), contents.Damage, reported.list)
			}
			aside, err := os.ReadFile(contents.SetAside)
			if err != nil || !bytes.Equal(aside, damaged) || !strings.HasPrefix(contents.SetAside, path+".corrupt-") {
				t.Errorf("%s is not the damaged file (%v)", contents.SetAside, err)
			}
			put(s, records("a", "1"))
			s.Close(t.Context())
			s, contents, _ = mustOpen(t, dir)
			defer s.Close(t.Context())
			if !equal(contents.Records, records("a", "1", "lost", "yes")) {
				t.Errorf("the new store holds %q", contents.Records)
			}
		})
	}
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, fileName, "below"), 0o700); err != nil {
			t.Fatal(err)
		}
		s, contents, _ := mustOpen(t, dir)
		defer s.Close(t.Context())
		if contents.SetAside == "" {
			t.Error("the directory was not moved aside")
		}
	})
}

// otherVersion returns the file with a manifest of another version, in good order.
func otherVersion(t *testing.T, content []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), fileName)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := openDB(path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		m, err := getManifest(tx)
		if err != nil {
			return err
		}
		m.Version++
		return putManifest(tx, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// TestEveryByte changes bytes all over the file: never a crash, and never a
// record other than was written.
func TestEveryByte(t *testing.T) {
	content, want := written(t)
	var aside, unharmed int
	for range 400 {
		i := rand.IntN(len(content))
		damaged := bytes.Clone(content)
		damaged[i] ^= 1 << rand.IntN(8)
		dir := t.TempDir()
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, got, err := load(path)
		switch {
		case err != nil:
			aside++
		case !equal(got, want):
			t.Fatalf("byte %d changed: other records than were written", i)
		default:
			unharmed++
		}
		if db != nil && err == nil {
			guarded(db.Close) //nolint:errcheck // it is damaged
		}
	}
	t.Logf("%d changes were noticed, %d changed no record", aside, unharmed)
	if aside == 0 || unharmed == 0 {
		t.Error("the test proves nothing")
	}
}

// TestLostMeta takes back the latest transaction, as bbolt does by itself when a
// meta page is damaged.
func TestLostMeta(t *testing.T) {
	content, _ := written(t)
	page := os.Getpagesize()
	for i := range 2 {
		damaged := bytes.Clone(content)
		binary.NativeEndian.PutUint64(damaged[i*page+metaOffset+metaSize-8:], 0)
		path := filepath.Join(t.TempDir(), fileName)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := load(path); err == nil {
			t.Errorf("meta page %d is damaged, and nobody notices", i)
		}
	}
}

// TestFailingDisk has writes fail for a while: they are reported, and what they
// held is on disk when writing works again.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	s, _, reported := mustOpen(t, dir)
	put(s, records("a", "1", "b", "1"))
	working := s.db
	broken, err := openDB(filepath.Join(t.TempDir(), fileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	s.db = broken
	put(s, records("a", "2", "c", "2"))
	put(s, records("c", "3"))
	if got := reported.count(); got != 2 {
		t.Errorf("got %d reports, want 2: %q", got, reported.list)
	}
	s.db = working
	put(s, records("d", "4"))
	s.Close(t.Context())
	s, contents, _ := mustOpen(t, dir)
	defer s.Close(t.Context())
	if want := records("a", "2", "b", "1", "c", "3", "d", "4"); !equal(contents.Records, want) {
		t.Errorf("got %q, want %q", contents.Records, want)
	}
}

// TestReplaced removes the file, or puts another in its place.
func TestReplaced(t *testing.T) {
	for _, replace := range []bool{false, true} {
		dir := t.TempDir()
		s, _, reported := mustOpen(t, dir)
		if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
			t.Fatal(err)
		}
		if replace {
			if err := os.WriteFile(filepath.Join(dir, fileName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(s, records("a", "1"))
		if reported.count() != 1 {
			t.Errorf("replace %v: got %d reports, want 1", replace, reported.count())
		}
		s.Close(t.Context())
	}
}

// TestNotAFile must not hang on what cannot be a store.
func TestNotAFile(t *testing.T) {
	for _, name := range []string{fileName, lockName} {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(Config{Dir: dir}); err == nil || !strings.HasSuffix(err.Error(), "is not a regular file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestHostileTree has damage that package bbolt does not survive.
func TestHostileTree(t *testing.T) {
	content, _ := written(t)
	page := os.Getpagesize()
	cycles, freelists := 0, 0
	for id := 2; id*page < len(content); id++ {
		damaged := bytes.Clone(content)
		switch binary.NativeEndian.Uint16(content[id*page+8:]) {
		case branchFlag: // its first child is itself
			binary.NativeEndian.PutUint64(damaged[id*page+headerSize+8:], uint64(id))
			cycles++
		case freelistFlag: // it has 2^33 entries
			binary.NativeEndian.PutUint16(damaged[id*page+10:], 0xffff)
			binary.NativeEndian.PutUint64(damaged[id*page+headerSize:], 1<<33)
			freelists++
		default:
			continue
		}
		path := filepath.Join(t.TempDir(), fileName)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, _, err := load(path)
		if err == nil { // a page that is not in use any more
			guarded(db.Close) //nolint:errcheck // it is damaged
		} else if !errors.Is(err, errDamaged) {
			t.Errorf("page %d: got %v", id, err)
		}
	}
	if cycles == 0 || freelists == 0 {
		t.Error("the file has no branch or no free list: the test proves nothing")
	}
}

// TestManifest takes a record away, and brings an old one back, in a file that
// is otherwise in good order.
func TestManifest(t *testing.T) {
	content, _ := written(t)
	key := []byte("user/7")
	for name, change := range map[string]func(*bbolt.Bucket) error{
		"lost": func(b *bbolt.Bucket) error { return b.Delete(key) },
		"old":  func(b *bbolt.Bucket) error { return b.Put(key, seal(key, []byte("old"))) },
		"new":  func(b *bbolt.Bucket) error { return b.Put([]byte("x"), seal([]byte("x"), nil)) },
	} {
		path := filepath.Join(t.TempDir(), fileName)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := openDB(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket(recordsBucket)) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := load(path); !errors.Is(err, errDamaged) {
			t.Errorf("%s record: got %v, want damage", name, err)
		}
	}
}

// TestKilledWhenSetAside starts again after a kill between two steps: what was
// lost is not forgotten.
func TestKilledWhenSetAside(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName+asideSuffix+"x"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the file is there
		s, contents, _ := mustOpen(t, dir)
		if !equal(contents.Records, lost) {
			t.Errorf("got %q, want the records of a loss", contents.Records)
		}
		s.Close(t.Context())
	}
}

// TestPutDuringCommit puts while a commit is failing: what is newer wins, and
// who waits for all waits for the commit too.
func TestPutDuringCommit(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := mustOpen(t, dir)
	file := s.file
	var once sync.Once
	s.onError = func(string, error) { // the commit is not over yet
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			if s.Put(nil)(ctx); ctx.Err() == nil {
				t.Error("the wait for all ended before the commit")
			}
			s.Put(records("a", "new"))
		})
		s.file = file
	}
	s.file = nil // no file is the same
	put(s, records("a", "old"))
	s.Close(t.Context())
	s, contents, _ := mustOpen(t, dir)
	defer s.Close(t.Context())
	if got := string(contents.Records["a"]); got != "new" {
		t.Errorf("got %s, want new", got)
	}
}

// TestCutUnderneath cuts the file of an open store, so that its memory map
// faults: the process survives, and continues from memory.
func TestCutUnderneath(t *testing.T) {
	dir := t.TempDir()
	s, _, reported := mustOpen(t, dir)
	changes := make(map[string][]byte)
	for i := range 5000 {
		changes[fmt.Sprint("user/", i)] = bytes.Repeat([]byte("x"), 100)
	}
	put(s, changes)
	if err := os.Truncate(filepath.Join(dir, fileName), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	put(s, changes)
	put(s, records("a", "1"))
	if got := reported.count(); got != 2 {
		t.Errorf("got %d reports, want 2: %q", got, reported.list)
	}
	s.Close(t.Context())
	s, contents, _ := mustOpen(t, dir)
	defer s.Close(t.Context())
	if !equal(contents.Records, lost) {
		t.Errorf("the next start finds %d records, want those of a loss", len(contents.Records))
	}
}

// TestDamagedFreelist names pages that are not free: bbolt would use them.
func TestDamagedFreelist(t *testing.T) {
	content, _ := written(t)
	metas, err := readMetas(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	at := metas.Freelist*uint64(metas.PageSize) + headerSize
	for _, id := range []uint64{0, 1, metas.Root, metas.Freelist, 1 << 25, 1<<64 - 1} {
		damaged := bytes.Clone(content)
		binary.NativeEndian.PutUint64(damaged[at:], id)
		path := filepath.Join(t.TempDir(), fileName)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := load(path); !errors.Is(err, errDamaged) {
			t.Errorf("page %d is said to be free: got %v", id, err)
		}
	}
}

// TestVastFile has a hole at its end.
func TestVastFile(t *testing.T) {
	content, want := written(t)
	path := filepath.Join(t.TempDir(), fileName)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<36); err != nil {
		t.Fatal(err)
	}
	if err := checkFile(path); err != nil {
		t.Errorf("got %v for a good file with %d records and a hole", err, len(want))
	}
}

// TestHistories lets stores grow and shrink: none may be called damaged.
func TestHistories(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		want := make(map[string][]byte)
		for range 1 + rand.IntN(4) {
			s, contents, _ := mustOpen(t, dir)
			if contents.SetAside != "" || !equal(contents.Records, want) {
				t.Fatalf("a good store is called damaged: %v", contents.Damage)
			}
			for range 1 + rand.IntN(5) {
				changes := make(map[string][]byte)
				for range rand.IntN(2000) {
					key := fmt.Sprint("user/", rand.IntN(3000))
					changes[key] = bytes.Repeat([]byte("x"), rand.IntN(300))
					if rand.IntN(3) == 0 {
						changes[key] = nil
					}
				}
				put(s, changes)
				for key, value := range changes {
					if want[key] = value; value == nil {
						delete(want, key)
					}
				}
			}
			s.Close(t.Context())
		}
	}
}

// TestWaitInTime does not wait for a disk that hangs.
func TestWaitInTime(t *testing.T) {
	s, _, _ := mustOpen(t, t.TempDir())
	defer s.Close(t.Context())
	s.mu.Lock() // the committer hangs
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	s.await(ctx, s.gathering)
	s.mu.Unlock()
	if ctx.Err() == nil {
		t.Error("the wait ended before its time")
	}
}
