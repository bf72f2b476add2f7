package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// damageStride is the distance between the places that [TestDamage] damages. The build tag damage sets it to 1.
var damageStride = 1021

// coarse is the distance in states that differ little from others, and in databases that a journal restores. It is odd,
// so that bits of all weights are flipped.
const coarse = 65

// diskState is what a process has left on the disk.
type diskState struct {
	name              string
	database, journal []byte
	// acknowledged are the records whose writing has been acknowledged, and next are those after the transaction that was
	// in progress.
	acknowledged, next map[string][]byte
	// databaseStride and journalStride are the least distances between damaged places.
	databaseStride, journalStride int
}

// userRecord returns a record such as the exporter writes, with a value that differs between rounds.
func userRecord(i, round int) []byte {
	return fmt.Appendf(nil, `{"min_interval":900000000000,"started":"2026-11-27T07:%02d:40.%03dZ","verdict":"value",`+
		`"streak":%d,"value":{"followers":%d,"following":%d,"time":"2026-11-27T07:%02d:41.%03dZ"},"completed":true}`,
		round, i, round, 4153942+i*1000+round, i, round, i)
}

// diskStates returns the states in which a process leaves its files: closed, and killed in every phase of a commit.
func diskStates(t *testing.T) []diskState {
	t.Helper()
	dir := t.TempDir()
	s, _, _ := mustOpen(t, Config{Dir: dir})
	acknowledged := make(map[string][]byte)
	for round := range 3 {
		changes := records("budget", fmt.Sprintf(`{"today":{"used":%d},"ratio":1.25}`, round))
		for i := range 60 {
			changes[fmt.Sprintf("user/%d", 472747194+i*7919)] = userRecord(i, round)
		}
		mustPut(t, s, changes)
		maps.Copy(acknowledged, changes)
	}
	s.Close(t.Context())
	path := filepath.Join(dir, fileName)
	before := mustRead(t, path)

	d := &sqliteDB{path: path}
	if _, err := d.open(); err != nil {
		t.Fatal(err)
	}
	// With this mode, the journal survives the commit, except for its header.
	if _, err := d.db.Exec("PRAGMA journal_mode=PERSIST"); err != nil {
		t.Fatal(err)
	}
	changes := records("budget", `{"today":{"used":7},"ratio":1.5}`, "pause", `{"reason":"token"}`)
	for i := 0; i < 60; i += 4 {
		changes[fmt.Sprintf("user/%d", 472747194+i*7919)] = userRecord(i, 4)
	}
	opened := mustRead(t, path)
	if err := d.Write(embeddedTerm, changes); err != nil {
		t.Fatal(err)
	}
	after, journal := mustRead(t, path), mustRead(t, path+journalSuffix)
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	next := maps.Clone(acknowledged)
	maps.Copy(next, changes)
	unsynced := restoreJournalHeader(t, journal, opened, 0)
	synced := restoreJournalHeader(t, journal, opened, uint32((len(journal)-512)/(pageSize+8)))
	half := bytes.Clone(after)
	copy(half[len(opened)/2/pageSize*pageSize:], opened[len(opened)/2/pageSize*pageSize:])
	return []diskState{
		{"closed", before, nil, acknowledged, acknowledged, 1, 0},
		{"journal not synced", opened, unsynced, acknowledged, next, coarse, coarse},
		{"journal synced", opened, synced, acknowledged, next, coarse, coarse},
		{"half of the pages written", half, synced, acknowledged, next, coarse, coarse},
		{"all pages written", after, synced, acknowledged, next, coarse, 1},
	}
}

// restoreJournalHeader returns a journal with the header that it had before the commit. SQLite's file format defines
// it: the magic number, the number of pages, a random number to which the checksums of pages are added, the size of the
// database in pages, and the sizes of a sector and a page.
func restoreJournalHeader(t *testing.T, journal, database []byte, pages uint32) []byte {
	t.Helper()
	journal = bytes.Clone(journal)
	first := journal[512:]
	var sum uint32
	for i := pageSize - 200; i > 0; i -= 200 {
		sum += uint32(first[4+i])
	}
	header := append([]byte{}, 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7)
	for _, field := range []uint32{
		pages, binary.BigEndian.Uint32(first[4+pageSize:]) - sum, uint32(len(database) / pageSize), 512, pageSize,
	} {
		header = binary.BigEndian.AppendUint32(header, field)
	}
	if !bytes.Equal(journal[20:28], header[20:28]) && !bytes.Equal(journal[:28], make([]byte, 28)) {
		t.Fatalf("the journal's header is not as expected: %x", journal[:28])
	}
	copy(journal, header)
	return journal
}

// damage is one way to damage files. It changes them in place, or returns a part of them.
type damage struct {
	name   string
	places func(size int) int
	apply  func(content []byte, place int) []byte
}

var noise = func() (noise [64]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return noise
}()

func damages() []damage {
	size := func(size int) int { return size }
	return []damage{
		{"cut", size, func(content []byte, place int) []byte { return content[:place] }},
		{"flipped bit", func(size int) int { return 8 * size }, func(content []byte, place int) []byte {
			content[place/8] ^= 1 << (place % 8)
			return content
		}},
		{"noise", size, func(content []byte, place int) []byte {
			copy(content[place:], noise[:])
			return content
		}},
		{"copied page", func(size int) int { return (size / pageSize) * (size / pageSize) },
			func(content []byte, place int) []byte {
				from, to := place/(len(content)/pageSize), place%(len(content)/pageSize)
				copy(content[to*pageSize:(to+1)*pageSize], content[from*pageSize:(from+1)*pageSize])
				return content
			}},
	}
}

// outcomes counts outcomes by kind of damage.
type outcomes struct {
	mu     sync.Mutex // protects the following fields
	counts map[string]int
	faults int // neither allowed records nor damage
}

// TestDamage damages the files of a store in every way. The result is always either the records whose writing was
// acknowledged, or those with one more transaction that was in progress, or damage is found.
func TestDamage(t *testing.T) {
	all := &outcomes{counts: make(map[string]int)}
	for _, state := range diskStates(t) {
		t.Run(state.name, func(t *testing.T) { testDamage(t, state, all) })
	}
	for _, outcome := range sortedKeys(all.counts) {
		t.Logf("%8d %s", all.counts[outcome], outcome)
	}
}

func testDamage(t *testing.T, state diskState, all *outcomes) {
	start, b := time.Now(), newDamageBench(t)
	if got, err := b.try(state, state.database, state.journal, true); err != nil || got != "acknowledged" {
		t.Fatalf("without damage, got %s records, %v", got, err)
	}
	if _, err := b.try(state, nil, state.journal, true); state.journal != nil && !errors.Is(err, errDamaged) {
		t.Errorf("a journal without a database: got %v, want damage", err)
	}
	for _, file := range []string{"database", "journal"} {
		content, stride := state.database, max(damageStride, state.databaseStride)
		if file == "journal" {
			content, stride = state.journal, max(damageStride, state.journalStride)
		}
		if testing.Short() {
			stride *= 4
		}
		for _, damage := range damages() {
			if damage.name == "copied page" { // there are few
				stride = 1
			}
			b.run(damage.places(len(content)), stride, func(b *damageBench, place int) {
				damaged := damage.apply(append(b.buffer[:0], content...), place)
				database, journal := damaged, state.journal
				if file == "journal" {
					database, journal = state.database, damaged
				}
				got, err := b.try(state, database, journal, place/8%16 == 0)
				name := fmt.Sprintf("%s, %s of the %s", state.name, damage.name, file)
				all.mu.Lock()
				defer all.mu.Unlock()
				if errors.Is(err, errDamaged) {
					got = "damage"
				} else if err != nil {
					if all.faults++; all.faults < 20 {
						t.Errorf("%s at %d: %v", name, place, err)
					}
				}
				all.counts[name+": "+got]++
			})
			t.Logf("%v: %s of the %s", time.Since(start).Round(time.Second), damage.name, file)
		}
	}
}

// damageBench is a directory in memory in which damaged files are opened.
type damageBench struct {
	dir    string
	buffer []byte
}

func newDamageBench(t *testing.T) *damageBench {
	t.Helper()
	base := "/dev/shm"
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "damage")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &damageBench{dir: dir, buffer: make([]byte, 0, 1<<20)}
}

// run calls f for places, in as many goroutines as there are processors, each with a directory of its own.
func (b *damageBench) run(places, stride int, f func(b *damageBench, place int)) {
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		all.Go(func() {
			own := &damageBench{dir: filepath.Join(b.dir, fmt.Sprint(worker)), buffer: make([]byte, 0, 1<<20)}
			if err := os.MkdirAll(own.dir, 0o700); err != nil {
				panic(err)
			}
			for place := worker * stride; place < places; place += workers * stride {
				f(own, place)
			}
		})
	}
	all.Wait()
}

// try opens files. It returns which records it got. If it is to be thorough, it opens damaged files again, as
// [openSQLite] does, and writes to the others.
func (b *damageBench) try(state diskState, database, journal []byte, thorough bool) (got string, err error) {
	d := &sqliteDB{path: filepath.Join(b.dir, fileName)}
	for path, content := range map[string][]byte{d.path: database, d.path + journalSuffix: journal} {
		if content == nil {
			os.Remove(path) //nolint:errcheck // it may not exist
		} else if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", err
		}
	}
	loaded, err := d.open()
	if errors.Is(err, errDamaged) && thorough {
		loaded, err = d.open()
	}
	if err != nil {
		return "", err
	}
	want := state.acknowledged
	got = "acknowledged"
	if !equal(loaded, want) {
		if got, want = "next", state.next; !equal(loaded, want) {
			d.db.Close() //nolint:errcheck // the first error counts
			return "", fmt.Errorf("got other records than were written: %s", difference(loaded, state.acknowledged))
		}
	}
	if !thorough {
		return got, d.db.Close()
	}
	change := records("user/472747194", "new", "other", "new")
	err = errors.Join(d.Write(embeddedTerm, change), d.db.Close())
	if errors.Is(err, errDamaged) {
		return got + ", and a write finds damage", nil
	}
	if err == nil {
		loaded, err = d.open()
	}
	if err == nil {
		want = maps.Clone(want)
		maps.Copy(want, change)
		if !equal(loaded, want) {
			err = fmt.Errorf("got other records after a write: %s", difference(loaded, want))
		}
		err = errors.Join(err, d.db.Close())
	} else {
		err = fmt.Errorf("after a write: %v", err) //nolint:errorlint // damage that a write causes is a fault
	}
	return got, err
}

func difference(got, want map[string][]byte) (text string) {
	for _, key := range sortedKeys(want) {
		if !bytes.Equal(got[key], want[key]) {
			text += fmt.Sprintf("%s is %q, want %q; ", key, got[key], want[key])
		}
	}
	for _, key := range sortedKeys(got) {
		if _, ok := want[key]; !ok {
			text += fmt.Sprintf("%s was never written; ", key)
		}
	}
	return text[:min(len(text), 1000)]
}
