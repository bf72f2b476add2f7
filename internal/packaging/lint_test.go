//go:build packages

package packaging

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLint checks the packages of all architectures with lintian and rpm.
func TestLint(t *testing.T) {
	dir := build(t, older, "linux/amd64 linux/arm64")
	for name, command := range map[string]string{
		"bilibili-exporter_1.2.3-1_amd64.deb":   "lintian --fail-on=error,warning,info --info",
		"bilibili-exporter_1.2.3-1_arm64.deb":   "lintian --fail-on=error,warning,info --info",
		"bilibili-exporter-1.2.3-1.x86_64.rpm":  "rpm --checksig --nosignature",
		"bilibili-exporter-1.2.3-1.aarch64.rpm": "rpm --checksig --nosignature",
	} {
		args := append(strings.Fields(command), filepath.Join(dir, name))
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
