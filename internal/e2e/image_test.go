//go:build image

package e2e

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// nobody is the user ID that the images run as.
const nobody = 65534

// buildah builds images without a container engine. It keeps everything in dir.
type buildah struct {
	t   *testing.T
	dir string
}

func (b *buildah) run(args ...string) string {
	b.t.Helper()
	args = append([]string{"--storage-driver=vfs", "--root=" + b.dir + "/root", "--runroot=" + b.dir + "/run"}, args...)
	cmd := exec.Command("buildah", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.dir) // also of cache mounts
	out, err := cmd.Output()
	if err != nil {
		message := err.Error()
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			message += "\n" + string(exit.Stderr)
		}
		b.t.Fatalf("buildah %s: %s\n%s", strings.Join(args, " "), message, out)
	}
	return strings.TrimSpace(string(out))
}

// createGolangImage creates a stand-in for the image golang:1.26 with certificates, and with links to directories of
// this machine that build mounts. So nothing is pulled, and no layer contains a toolchain.
func (b *buildah) createGolangImage() {
	b.t.Helper()
	root := b.t.TempDir()
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, err := range []error{
		os.MkdirAll(root+"/etc/ssl/certs", 0o755),
		os.WriteFile(root+"/etc/ssl/certs/ca-certificates.crt", certificates, 0o644),
		os.Mkdir(root+"/tmp", 0o1777),
		os.Symlink("usr/bin", root+"/bin"),
		os.Symlink("usr/lib", root+"/lib"),
		os.Symlink("usr/lib64", root+"/lib64"),
	} {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	container := b.run("from", "scratch")
	b.run("copy", container, root, "/")
	b.run("config", "--env=PATH=/toolchain/bin:/bin", "--env=GOMODCACHE=/modules", "--env=GOCACHE=/cache",
		"--env=GOTOOLCHAIN=local", "--env=GOPROXY=file:///proxy", "--env=GOFLAGS="+goEnv(b.t, "GOFLAGS"), container)
	b.run("commit", container, "docker.io/library/golang:1.26")
}

// goEnv returns the value of a Go environment variable.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// build builds an image from the Dockerfile and returns the path of its root file system. The build uses the modules of
// this machine and cannot download any.
func (b *buildah) build(image string, args ...string) string {
	b.t.Helper()
	args = append([]string{
		"build", "--isolation=chroot", "--pull=never", "--tag=" + image,
		"--volume=/usr:/usr:ro",
		"--volume=" + goEnv(b.t, "GOROOT") + ":/toolchain:ro",
		"--volume=" + goEnv(b.t, "GOMODCACHE") + "/cache/download:/proxy:ro",
		"--volume=" + b.dir + "/modules:/modules",
		"--volume=" + goEnv(b.t, "GOCACHE") + ":/cache",
		// BuildKit sets these by itself.
		"--build-arg=TARGETOS=linux", "--build-arg=TARGETARCH=" + runtime.GOARCH,
	}, args...)
	if err := os.MkdirAll(b.dir+"/modules", 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.run(append(args, ".")...)
	return b.run("mount", b.run("from", "--pull=never", image))
}

// imageConfig is the configuration of an image.
type imageConfig struct {
	User, WorkingDir string
	Entrypoint, Cmd  []string
	Volumes, Labels  map[string]any
}

func (b *buildah) config(image string) imageConfig {
	b.t.Helper()
	var inspected struct {
		OCIv1 struct {
			Config imageConfig `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b.run("inspect", "--type=image", image)), &inspected); err != nil {
		b.t.Fatal(err)
	}
	return inspected.OCIv1.Config
}

// mount mounts a file system until the end of the test.
func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		t.Fatalf("mounting %s, which needs root: %v", target, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
}

// mountReadOnly mounts a root file system read-only, with /proc and, if there is one, a writable /data. It returns
// where it is mounted, and the directory that is mounted at /data.
func mountReadOnly(t *testing.T, root string) (mounted, data string) {
	t.Helper()
	data = t.TempDir()
	for _, err := range []error{os.Mkdir(root+"/proc", 0o755), os.Chmod(data, 0o700), os.Chown(data, nobody, nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mounted = t.TempDir()
	mount(t, root, mounted, "", syscall.MS_BIND)
	mount(t, "proc", mounted+"/proc", "proc", 0)
	if _, err := os.Stat(mounted + "/data"); err == nil {
		mount(t, data, mounted+"/data", "", syscall.MS_BIND)
	}
	if err := syscall.Mount("", mounted, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return mounted, data
}

// containerCommand returns the command that runs an image's entry point as nobody.
func containerCommand(root string, config imageConfig, args ...string) *exec.Cmd {
	cmd := exec.Command(config.Entrypoint[0], args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/"}
	credential := &syscall.Credential{Uid: nobody, Gid: nobody}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: credential}
	return cmd
}

// size returns the total size of all files in bytes.
func size(t *testing.T, root string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestImage builds the images of the Dockerfile and runs them as nobody with a read-only root file system.
func TestImage(t *testing.T) {
	if out, err := exec.Command("go", "mod", "download").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	(&buildah{t, dir}).createGolangImage()
	t.Run("exporter", func(t *testing.T) { testExporterImage(t, &buildah{t, dir}) })
	t.Run("demo", func(t *testing.T) { testDemoImage(t, &buildah{t, dir}) })
	for owner, want := range map[string]bool{
		"github.com/prometheus": true,
		"github.com/chromedp":   false, "go.uber.org": false, "pgregory.net": false, // only tests import these
	} {
		if got := exportertest.Exists(dir + "/modules/" + owner); got != want {
			t.Errorf("modules of %s: downloaded is %t, want %t", owner, got, want)
		}
	}
}

func testExporterImage(t *testing.T, b *buildah) {
	root := b.build("exporter", "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc", "--build-arg=BRANCH=main",
		"--build-arg=BUILD_DATE=20260101-00:00:00")
	got := size(t, root)
	t.Logf("the image has %.1f MB", float64(got)/1e6)
	if got >= 22e6 {
		t.Errorf("the image has %d bytes, want less than 22 MB", got)
	}
	config := b.config("exporter")
	if config.User != "65534:65534" || config.WorkingDir != "/" || config.Volumes["/data"] == nil {
		t.Errorf("got %+v, want user 65534:65534 in / with a volume /data", config)
	}
	for name, want := range map[string]string{
		"title": "bilibili_exporter", "licenses": "Apache-2.0", "version": "1.2.3", "revision": "abc",
		"source":      "https://github.com/bilibili-exporter/bilibili_exporter",
		"description": "Prometheus exporter of Bilibili follower counts",
	} {
		if got := config.Labels["org.opencontainers.image."+name]; got != want {
			t.Errorf("label %s is %v, want %s", name, got, want)
		}
	}
	info, err := os.Stat(root + "/data")
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != nobody || info.Mode().Perm() != 0o700 {
		t.Errorf("/data belongs to %d with mode %v, want %d and 0700", owner, info.Mode(), nobody)
	}
	certificates := exportertest.ReadFile(t, root+"/etc/ssl/certs/ca-certificates.crt")
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(certificates)) {
		t.Error("the image has no certificates")
	}

	api, file := exportertest.NewAPI(t, exportertest.Steady)
	text := exportertest.ReadFile(t, file)
	if err := os.WriteFile(root+"/bilibili_exporter.yml", []byte(text), 0o644); err != nil { // as if mounted
		t.Fatal(err)
	}
	mounted, data := mountReadOnly(t, root)
	out, err := containerCommand(mounted, config, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"version 1.2.3 ", "branch: main", "revision: abc",
		"build user:       docker", "build date:       20260101-00:00:00",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("--version lacks %q:\n%s", want, out)
		}
	}
	cmd := containerCommand(mounted, config, "--web.listen-address=127.0.0.1:0", "--storage.path=/elsewhere")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("the root file system is writable: %v\n%s", err, out)
	}
	for range 2 { // the second process finds the state of the first
		p := exportertest.Start(t, containerCommand(mounted, config, "--web.listen-address=127.0.0.1:0"))
		body := exportertest.Get(t, http.DefaultClient, "http://"+p.Address()+"/metrics")
		for _, want := range []string{
			"\nbilibili_followers{wmid=\"472747194\"} 4.153991e+06\n", "\nprocess_start_time_seconds ",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("/metrics lacks %s", want)
			}
		}
		if status, _ := p.End(syscall.SIGTERM); status != 0 {
			t.Errorf("exited with status %d", status)
		}
	}
	if got := api.Total().Requests; got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}
	if got := size(t, data); got == 0 {
		t.Error("/data is empty")
	}
}

// testDemoImage runs the demo of the compose file.
func testDemoImage(t *testing.T, b *buildah) {
	root := b.build("demo", "--target=demo")
	config := b.config("demo")
	want := []string{"-web.listen-address=0.0.0.0:12233"}
	if config.User != "65534:65534" || !slices.Equal(config.Cmd, want) {
		t.Errorf("got user %s and arguments %s, want 65534:65534 and %s", config.User, config.Cmd, want)
	}
	mounted, _ := mountReadOnly(t, root)
	demo := exportertest.Start(t, containerCommand(mounted, config, "-web.listen-address=127.0.0.1:0"))
	address := demo.Await(`bilibili_exporter runs at http://(\S+),`)
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	sample := "\nbilibili_followers{wmid=\"100006\"} 12\n"
	if !strings.Contains(body, sample) || strings.Contains(body, justoneapitest.Token) {
		t.Errorf("the demo exposes:\n%s", body)
	}
	if status, _ := demo.End(syscall.SIGTERM); status != 0 {
		t.Errorf("the demo exited with status %d", status)
	}
}
