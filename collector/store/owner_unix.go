//go:build unix

package store

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// describeOwner describes who owns a directory, or the nearest parent that exists, and what a process needs to write
// to it.
func describeOwner(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				return fmt.Sprintf("; %s belongs to uid %d with mode %04o, and this process runs as uid %d: "+
					"it needs a directory that it can write to", dir, stat.Uid, info.Mode().Perm(), os.Getuid())
			}
		}
		if err == nil || dir == filepath.Dir(dir) {
			return ""
		}
	}
}
