//go:build unix

package store

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// describeOwner describes who owns a file or directory, or the nearest parent that exists, and what a process needs to
// write to it.
func describeOwner(path string) string {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				return fmt.Sprintf("; %s belongs to uid %d with mode %04o, and this process runs as uid %d: "+
					"it needs to write to it", path, stat.Uid, info.Mode().Perm(), os.Getuid())
			}
		}
		if err == nil || path == filepath.Dir(path) {
			return ""
		}
	}
}
