package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"
)

// childDir is the environment variable that makes the test binary a process that uses the store in a directory.
const childDir = "STORE_TEST_DIR"

// opened is what a child reports after it has opened the store, or has failed to.
type opened struct {
	Err       string
	RenamedTo string
	Records   map[string][]byte
	Took      time.Duration
}

// child opens a store when it receives a line. Every further line is an order: "put" and a number of records are put
// without end until the process is killed, "close" closes the store.
func child(dir string) {
	fmt.Println("ready")
	input := bufio.NewScanner(os.Stdin)
	input.Scan()
	start := time.Now()
	s, contents, err := Open(Config{Dir: dir, IfLost: lost, OnError: func(string, error) {}})
	report := opened{RenamedTo: contents.RenamedTo, Records: contents.Records, Took: time.Since(start)}
	if err != nil {
		report.Err = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(report) //nolint:errcheck // then the parent reads nothing
	if err != nil {
		os.Exit(1)
	}
	for input.Scan() && input.Text() == "put" {
		for round := 1; ; round++ {
			changes := records("round", fmt.Sprint(round))
			for i := range 200 {
				changes[fmt.Sprint("user/", i)] = userRecord(i, round)
			}
			s.Put(embeddedTerm, changes)(context.Background()) //nolint:errcheck // always nil
			fmt.Println(round)
		}
	}
	s.Close(context.Background())
	os.Exit(0)
}

// process is a child.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
}

// startChild starts a process that is ready to open the store in a directory. change, if not nil, changes its command.
func startChild(t *testing.T, dir string, change func(*exec.Cmd)) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, stdin, bufio.NewScanner(stdout)}
	p.out.Buffer(nil, 1<<20)
	t.Cleanup(p.kill)
	if p.out.Scan(); p.out.Text() != "ready" {
		t.Fatalf("got %q from the process", p.out.Text())
	}
	return p
}

func (p *process) order(order string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, order); err != nil {
		p.t.Fatal(err)
	}
}

// report returns what the process reports about the store.
func (p *process) report() (r opened) {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatal("the process ended")
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// end closes the store.
func (p *process) end() {
	p.stdin.Close()
	p.cmd.Wait() //nolint:errcheck // it fails if the store could not be opened
}

func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // likewise
}

// openInChild opens the store in another process and closes it.
func openInChild(t *testing.T, dir string, change func(*exec.Cmd)) opened {
	t.Helper()
	p := startChild(t, dir, change)
	p.order("open")
	r := p.report()
	p.end()
	return r
}

func inUse(dir string) string {
	return "opening the store in " + dir + ": it is in use by another process: " +
		"run one exporter for each token, each with a directory of its own"
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	s, _, reported := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, records("a", "1"))
	if r := openInChild(t, dir, nil); r.Err != inUse(dir) || r.Took > time.Second {
		t.Errorf("got %q after %v, want %q within a second", r.Err, r.Took, inUse(dir))
	}
	mustPut(t, s, records("b", "1"))
	s.Close(t.Context())
	if list, _ := reported.get(); len(list) > 0 {
		t.Errorf("the first process reports %q", list)
	}
	if r := openInChild(t, dir, nil); r.Err != "" || !equal(r.Records, records("a", "1", "b", "1")) {
		t.Errorf("after the first process, got %+v", r)
	}
}

// TestSimultaneousStart starts processes at the same time. Exactly one of them gets the store, and nothing is lost.
func TestSimultaneousStart(t *testing.T) {
	noise := bytes.Repeat(noise[:], 200)
	for name, test := range map[string]struct {
		damaged bool
		records map[string][]byte
	}{
		"new":     {false, nil},
		"damaged": {true, lost},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				dir := t.TempDir()
				if test.damaged {
					mustWrite(t, filepath.Join(dir, fileName), noise)
				}
				var all []*process
				for range 4 {
					all = append(all, startChild(t, dir, nil))
				}
				for _, p := range all {
					p.order("open")
				}
				winners := 0
				for _, p := range all {
					switch r := p.report(); {
					case r.Err == "":
						winners++
						if !equal(r.Records, test.records) || (r.RenamedTo != "") != test.damaged {
							t.Errorf("the process that got the store found %+v", r)
						}
					case r.Err != inUse(dir):
						t.Errorf("got %q, want %q", r.Err, inUse(dir))
					}
				}
				for _, p := range all {
					p.end()
				}
				aside, err := filepath.Glob(filepath.Join(dir, fileName+asideSuffix+"*"))
				if err != nil || winners != 1 || len(aside) > 0 != test.damaged {
					t.Errorf("%d processes got the store, want 1; %q were renamed", winners, aside)
				}
				for _, path := range aside {
					if !strings.HasSuffix(path, journalSuffix) && !bytes.Equal(mustRead(t, path), noise) {
						t.Errorf("%s is not the damaged file", path)
					}
				}
				mustHave(t, Config{Dir: dir}, test.records)
			}
		})
	}
}

// TestKillDuringCommit kills a process while it commits, and checks that the next one finds the last acknowledged round
// or the one after it.
func TestKillDuringCommit(t *testing.T) {
	dir := t.TempDir()
	hot := 0
	for range 10 {
		p := startChild(t, dir, nil)
		p.order("open")
		if r := p.report(); r.Err != "" || r.RenamedTo != "" {
			t.Fatalf("got %+v", r)
		}
		p.order("put")
		acknowledged := 0
		for p.out.Scan() {
			fmt.Sscan(p.out.Text(), &acknowledged) //nolint:errcheck // a part of a line is 0 or a smaller number
			if acknowledged == 2 {
				time.AfterFunc(rand.N(20*time.Millisecond), func() { p.cmd.Process.Kill() }) //nolint:errcheck // it runs
			}
		}
		p.kill()
		if info, err := os.Stat(filepath.Join(dir, fileName+journalSuffix)); err == nil && info.Size() > 0 {
			hot++
		}
		s, contents, reported := mustOpen(t, Config{Dir: dir})
		round := -1
		fmt.Sscan(string(contents.Records["round"]), &round) //nolint:errcheck // then it is wrong
		if round != acknowledged && round != acknowledged+1 {
			t.Errorf("got round %d, acknowledged is %d", round, acknowledged)
		}
		for i := range 200 {
			if got, want := contents.Records[fmt.Sprint("user/", i)], userRecord(i, round); !bytes.Equal(got, want) {
				t.Fatalf("user %d: got %s, want %s", i, got, want)
			}
		}
		mustPut(t, s, records("user/0", string(userRecord(0, round))))
		s.Close(t.Context())
		if list, _ := reported.get(); len(list) > 0 {
			t.Errorf("got reports %q", list)
		}
	}
	t.Logf("%d of 10 kills were in the middle of a commit", hot)
}

// TestModes checks that only the user of the process can read what is stored.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "new", "da[ta #1?&%41 é")
	s, _, _ := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, records("a", "1"))
	for _, open := range []bool{true, false} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory has mode %v (%v)", info.Mode(), err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if info, err := entry.Info(); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s (store open: %v): got mode %v, %v; want 0600", entry.Name(), open, info.Mode(), err)
			}
		}
		if open {
			s.Close(t.Context())
		}
	}
	mustHave(t, Config{Dir: dir}, records("a", "1"))
}

// TestUnusablePath has files of other kinds in the way. They are errors, but not damage, and nothing is changed.
func TestUnusablePath(t *testing.T) {
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	directory := func(path string) error { return os.Mkdir(path, 0o700) }
	for name, test := range map[string]struct {
		file   string
		create func(path string) error
		want   string
	}{
		"database is a FIFO":      {fileName, fifo, "state.db is not a regular file"},
		"database is a directory": {fileName, directory, "state.db is not a regular file"},
		"journal is a FIFO":       {fileName + journalSuffix, fifo, "state.db-journal is not a regular file"},
		"journal is a directory":  {fileName + journalSuffix, directory, "state.db-journal is not a regular file"},
		"lock is a FIFO":          {fileName + lockSuffix, fifo, "state.db.lock is not a regular file"},
		"draft is a directory":    {fileName + draftSuffix, directory, "state.db.new: is a directory"},
		"database links to nothing": {fileName, func(path string) error { return os.Symlink("/nowhere/x", path) },
			"state.db is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.create(filepath.Join(dir, test.file)); err != nil {
				t.Fatal(err)
			}
			before := dump(t, Config{Dir: dir})
			_, _, err := Open(Config{Dir: dir, OnError: func(_ string, err error) { t.Errorf("reported %v", err) }})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			after := dump(t, Config{Dir: dir})
			for line := range strings.Lines(before) {
				if !strings.Contains(after, line) || strings.Contains(after, asideSuffix) {
					t.Errorf("got %s, want %s", after, before)
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, nil)
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

// TestDamagedFiles opens files that are no databases. Each is renamed unchanged, and a new store is begun.
func TestDamagedFiles(t *testing.T) {
	for name, test := range map[string]struct{ files, left map[string][]byte }{
		"empty":                      {files: map[string][]byte{fileName: {}}},
		"text":                       {files: map[string][]byte{fileName: []byte("hello")}},
		"noise":                      {files: map[string][]byte{fileName: bytes.Repeat(noise[:], 200)}},
		"zeros":                      {files: map[string][]byte{fileName: make([]byte, 3*pageSize)}},
		"journal without a database": {files: map[string][]byte{fileName + journalSuffix: bytes.Repeat(noise[:], 200)}},
		"kill before a new store was created": {left: map[string][]byte{
			fileName + asideSuffix + "x": []byte("x"), fileName + draftSuffix: []byte("part"),
			fileName + draftSuffix + journalSuffix: []byte("part"), fileName + lockSuffix: []byte("x"),
		}},
		"kill between two renames": {
			files: map[string][]byte{fileName + journalSuffix: []byte("x")},
			left:  map[string][]byte{fileName + asideSuffix + "x": []byte("x")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, files := range []map[string][]byte{test.files, test.left} {
				for file, content := range files {
					mustWrite(t, filepath.Join(dir, file), content)
				}
			}
			s, contents, reported := mustOpen(t, Config{Dir: dir})
			list, _ := reported.get()
			if !equal(contents.Records, lost) || (contents.Damage != nil) != (test.files != nil) ||
				(contents.RenamedTo != "") != (test.files != nil) || (len(list) == 1) != (test.files != nil) {
				t.Errorf("got %+v, reported %q", contents, list)
			}
			for file, want := range test.files {
				path := contents.RenamedTo + strings.TrimPrefix(file, fileName)
				if !bytes.Equal(mustRead(t, path), want) || !strings.HasPrefix(path, filepath.Join(dir, fileName)+asideSuffix) {
					t.Errorf("%s is not the damaged file", path)
				}
			}
			mustPut(t, s, records("a", "1"))
			s.Close(t.Context())
			mustHave(t, Config{Dir: dir}, records("a", "1", "lost", "true"))
		})
	}
}

// TestNothingLost creates a store in the place of one that was removed.
func TestNothingLost(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, fileName+draftSuffix), []byte("part"))
	mustHave(t, Config{Dir: dir}, nil)
}

// TestReplaced removes or replaces a file of an open store. Nothing is written to a file that the next start would not
// find.
func TestReplaced(t *testing.T) {
	for _, file := range []string{fileName, fileName + journalSuffix} {
		for _, replace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, replaced %v", file, replace), func(t *testing.T) {
				dir := t.TempDir()
				s, _, reported := mustOpen(t, Config{Dir: dir})
				path := filepath.Join(dir, file)
				if err := os.Rename(path, path+"-moved"); err != nil {
					t.Fatal(err)
				}
				if replace {
					mustWrite(t, path, mustRead(t, path+"-moved"))
				}
				mustPut(t, s, records("a", "1"))
				want := fmt.Sprintf("write: %s was removed, replaced or cut: "+
					"nothing is stored until it is back, or a restart", path)
				if list, _ := reported.get(); len(list) != 1 || list[0] != want {
					t.Errorf("got %q, want %q", list, want)
				}
				if replace {
					os.Remove(path) //nolint:errcheck // then Rename fails
				}
				if err := os.Rename(path+"-moved", path); err != nil {
					t.Fatal(err)
				}
				mustPut(t, s, records("b", "1"))
				s.Close(t.Context())
				if _, recoveries := reported.get(); recoveries != 1 {
					t.Errorf("got %d recoveries, want 1", recoveries)
				}
				mustHave(t, Config{Dir: dir}, records("a", "1", "b", "1"))
			})
		}
	}
}

// TestCutWhileOpen cuts the database of an open store. The process continues, and the next one finds damage, or all
// records.
func TestCutWhileOpen(t *testing.T) {
	for _, size := range []int64{0, 100, pageSize, 3 * pageSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			s, _, _ := mustOpen(t, Config{Dir: dir})
			want := make(map[string][]byte)
			for i := range 500 {
				want[fmt.Sprint("user/", i)] = userRecord(i, 0)
			}
			mustPut(t, s, want)
			if err := os.Truncate(filepath.Join(dir, fileName), size); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				for i := range 500 {
					want[fmt.Sprint("user/", i)] = userRecord(i, round)
				}
				mustPut(t, s, want)
			}
			s.Close(t.Context())
			s, contents, _ := mustOpen(t, Config{Dir: dir})
			s.Close(t.Context())
			if !equal(contents.Records, want) && (!equal(contents.Records, lost) || contents.Damage == nil) {
				t.Errorf("got %d other records", len(contents.Records))
			}
		})
	}
}

func mustWrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPanic has SQLite panic. When the store is opened, that is damage. Later, the process continues from memory.
func TestPanic(t *testing.T) {
	panics := func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) { panic("a bug") }
	if err := sqlite.RegisterScalarFunction("panics", 0, panics); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, _, reported := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, records("a", "1"))
	const trigger = "CREATE TRIGGER x AFTER INSERT ON bilibili_exporter_records BEGIN SELECT panics(); END"
	if _, err := s.db.(*sqliteDB).db.Exec(trigger); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustPut(t, s, records("b", "2"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
	list, _ := reported.get()
	if len(list) < 2 || list[0] != "write: damaged: SQLite: a bug" || ctx.Err() != nil {
		t.Errorf("got reports %q, and Close %v", list, ctx.Err())
	}
	s, contents, _ := mustOpen(t, Config{Dir: dir})
	s.Close(t.Context())
	if !equal(contents.Records, lost) || !errors.Is(contents.Damage, errDamaged) {
		t.Errorf("got %+v", contents)
	}
}
