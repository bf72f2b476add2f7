//go:build crash

package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mount mounts a small file system in memory.
func mount(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mounting a tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill uses up all space, and returns a function that frees it.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	file.Close()
	return func() {
		if err := os.Remove(file.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// failOpen opens a store, which must fail without a change.
func failOpen(t *testing.T, config Config, want string) {
	t.Helper()
	config.OnError = func(_ string, err error) { t.Errorf("reported %v", err) }
	before := dump(t, config)
	s, _, err := Open(config)
	if err == nil {
		s.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if after := dump(t, config); after != before {
		t.Errorf("got\n%s, want\n%s", after, before)
	}
}

// TestFullDisk has no space when the store is created, opened or written to.
func TestFullDisk(t *testing.T) {
	dir := mount(t)
	mustWrite(t, filepath.Join(dir, fileName+lockSuffix), nil)
	free := fill(t, dir)
	failOpen(t, Config{Dir: dir}, "disk is full")
	free()
	s, _, reported := mustOpen(t, Config{Dir: dir})
	want := records("a", "1")
	mustPut(t, s, want)
	free = fill(t, dir)
	for i := range 200 {
		want[fmt.Sprint("user/", i)] = userRecord(i, 0)
	}
	mustPut(t, s, want)
	list, _ := reported.get()
	if len(list) != 1 || !strings.Contains(list[0], "disk is full") {
		t.Errorf("got reports %q", list)
	}
	free()
	mustPut(t, s, records("b", "1"))
	want["b"] = []byte("1")
	s.Close(t.Context())
	if list, recoveries := reported.get(); len(list) != 1 || recoveries != 1 {
		t.Errorf("got reports %q and %d recoveries, want 1 and 1", list, recoveries)
	}
	mustHave(t, Config{Dir: dir}, want)
	free = fill(t, dir)
	failOpen(t, Config{Dir: dir}, "disk is full")
	free()
	mustHave(t, Config{Dir: dir}, want)
}

// TestReadOnly opens a store on a file system that is mounted read-only.
func TestReadOnly(t *testing.T) {
	dir := mount(t)
	remount := func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	failOpen(t, Config{Dir: dir}, "read-only file system")
	failOpen(t, Config{Dir: filepath.Join(dir, "new", "..")}, "read-only file system")
	remount(0)
	s, _, _ := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, records("a", "1"))
	s.Close(t.Context())
	remount(syscall.MS_RDONLY)
	failOpen(t, Config{Dir: dir}, "read-only file system")
	remount(0)
	mustHave(t, Config{Dir: dir}, records("a", "1"))
}

// TestNoPermission opens stores as a user who may not read or write them.
func TestNoPermission(t *testing.T) {
	const nobody = 65534
	base, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	binary := filepath.Join(base, "test")
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, self, 0o755); err != nil { //nolint:gosec // another user runs it
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "data")
	lock := filepath.Join(dir, fileName+lockSuffix)
	s, _, _ := mustOpen(t, Config{Dir: dir})
	mustPut(t, s, records("a", "1"))
	s.Close(t.Context())
	for name, test := range map[string]struct {
		dir, described      string
		dirMode, fileMode   os.FileMode
		directory, database int // owners
	}{
		"directory of root":         {dir, dir, 0o700, 0o600, 0, 0},
		"readable directory":        {dir, lock, 0o755, 0o644, 0, 0},
		"database of root":          {dir, lock, 0o700, 0o600, nobody, 0},
		"directory without writing": {dir, dir, 0o500, 0o600, nobody, nobody},
		"new directory":             {filepath.Join(base, "new", "data"), base, 0o700, 0o600, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{fileName, fileName + journalSuffix, fileName + lockSuffix} {
				path := filepath.Join(dir, file)
				if name == "directory without writing" && file != fileName {
					os.Remove(path) //nolint:errcheck // the process would fail for another reason
					defer mustWrite(t, path, nil)
					continue
				}
				if err := os.Chown(path, test.database, test.database); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, test.fileMode); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(dir, test.directory, test.directory); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, test.dirMode); err != nil {
				t.Fatal(err)
			}
			before := dump(t, Config{Dir: dir})
			r := openInChild(t, test.dir, func(cmd *exec.Cmd) {
				cmd.Path = binary
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			})
			info, err := os.Stat(test.described)
			if err != nil {
				t.Fatal(err)
			}
			owner := info.Sys().(*syscall.Stat_t).Uid
			want := fmt.Sprintf("permission denied; %s belongs to uid %d with mode %04o, and this process runs as uid %d: "+
				"it needs to write to it", test.described, owner, info.Mode().Perm(), nobody)
			if !strings.HasSuffix(r.Err, want) {
				t.Errorf("got %q, want %q", r.Err, want)
			}
			if after := dump(t, Config{Dir: dir}); after != before {
				t.Errorf("got\n%s, want\n%s", after, before)
			}
		})
	}
	mustHave(t, Config{Dir: dir}, records("a", "1"))
}
