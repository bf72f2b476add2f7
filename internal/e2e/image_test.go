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

// nobody is the user that images run as.
const nobody = 65534

// buildah builds images without a container engine. All that it keeps is in a
// folder that goes with the test.
type buildah struct {
	t   *testing.T
	dir string
}

func (b *buildah) run(args ...string) string {
	b.t.Helper()
	args = append([]string{"--storage-driver=vfs", "--root=" + b.dir + "/root", "--runroot=" + b.dir + "/run"}, args...)
	out, err := exec.Command("buildah", args...).Output()
	if err != nil {
		message := err.Error()
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			message += "\n" + string(exit.Stderr)
		}
		b.t.Fatalf("buildah %s: %s\n%s", strings.Join(args, " "), message, out)
	}
	return strings.TrimSpace(string(out))
}

// makeGolang makes a stand-in for the image golang:1.26: certificates, and
// links to folders of this machine that build mounts. So nothing is pulled, and
// no layer holds a toolchain.
func (b *buildah) makeGolang() {
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
		"--env=GOTOOLCHAIN=local", "--env=GOPROXY=off", "--env=GOFLAGS="+goEnv(b.t, "GOFLAGS"), container)
	b.run("commit", container, "docker.io/library/golang:1.26")
}

// goEnv returns a setting of this machine's Go.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// build builds the Dockerfile and returns the image's root file system. The
// modules are this machine's: the build has no other source of them.
func (b *buildah) build(image string, args ...string) string {
	b.t.Helper()
	args = append([]string{
		"build", "--isolation=chroot", "--pull=never", "--tag=" + image,
		"--volume=/usr:/usr:ro",
		"--volume=" + goEnv(b.t, "GOROOT") + ":/toolchain:ro",
		"--volume=" + goEnv(b.t, "GOMODCACHE") + ":/modules",
		"--volume=" + goEnv(b.t, "GOCACHE") + ":/cache",
		// What BuildKit sets by itself.
		"--build-arg=TARGETOS=linux", "--build-arg=TARGETARCH=" + runtime.GOARCH,
	}, args...)
	b.run(append(args, ".")...)
	return b.run("mount", b.run("from", "--pull=never", image))
}

// imageConfig is what an image says of itself.
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

// mount mounts for the time of the test.
func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		t.Fatalf("mounting %s, which takes root: %v", target, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
}

// readOnly returns where a root file system is mounted read-only, with /proc
// and, if it has one, a /data of its own that can be written.
func readOnly(t *testing.T, root string) (view, data string) {
	t.Helper()
	data = t.TempDir()
	for _, err := range []error{os.Mkdir(root+"/proc", 0o755), os.Chmod(data, 0o700), os.Chown(data, nobody, nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	view = t.TempDir()
	mount(t, root, view, "", syscall.MS_BIND)
	mount(t, "proc", view+"/proc", "proc", 0)
	if _, err := os.Stat(view + "/data"); err == nil {
		mount(t, data, view+"/data", "", syscall.MS_BIND)
	}
	if err := syscall.Mount("", view, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return view, data
}

// inside returns the command that runs an image's entry point as nobody.
func inside(root string, config imageConfig, args ...string) *exec.Cmd {
	cmd := exec.Command(config.Entrypoint[0], args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// size returns the sum of all files.
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

// TestImage builds the Dockerfile and runs what a plain build gives, as nobody
// and on a read-only root.
func TestImage(t *testing.T) {
	if out, err := exec.Command("go", "mod", "download").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	(&buildah{t, dir}).makeGolang()
	t.Run("exporter", func(t *testing.T) { testExporterImage(t, &buildah{t, dir}) })
	t.Run("demo", func(t *testing.T) { testDemoImage(t, &buildah{t, dir}) })
}

func testExporterImage(t *testing.T, b *buildah) {
	root := b.build("exporter", "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc", "--build-arg=BRANCH=main", "--build-arg=BUILD_DATE=20260101-00:00:00")
	got := size(t, root)
	t.Logf("the image has %.1f MB", float64(got)/1e6)
	if got >= 20e6 {
		t.Errorf("the image has %d bytes, want less than 20 MB", got)
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
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != nobody {
		t.Errorf("/data belongs to %d, want %d", owner, nobody)
	}
	if pem, err := os.ReadFile(root + "/etc/ssl/certs/ca-certificates.crt"); err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Errorf("there are no certificates: %v", err)
	}

	api, file := exportertest.NewAPI(t, exportertest.Steady)
	if err := os.WriteFile(root+"/bilibili_exporter.yml", []byte(exportertest.ReadFile(t, file)), 0o644); err != nil { // as if mounted
		t.Fatal(err)
	}
	view, data := readOnly(t, root)
	out, err := inside(view, config, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version 1.2.3 ", "branch: main", "revision: abc", "build user:       docker", "build date:       20260101-00:00:00"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("--version lacks %q:\n%s", want, out)
		}
	}
	if out, err := inside(view, config, "--web.listen-address=127.0.0.1:0", "--storage.path=/elsewhere").CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("the root can be written: %v\n%s", err, out)
	}
	for range 2 { // the second finds what the first has left
		p := exportertest.Start(t, inside(view, config, "--web.listen-address=127.0.0.1:0"))
		body := exportertest.Get(t, http.DefaultClient, "http://"+p.Await(`msg="Listening on" address=(\S+)`)+"/metrics")
		for _, want := range []string{"\nbilibili_followers{wmid=\"472747194\"} 4.153991e+06\n", "\nprocess_start_time_seconds "} {
			if !strings.Contains(body, want) {
				t.Errorf("/metrics lacks %s", want)
			}
		}
		if status, _ := p.End(syscall.SIGTERM); status != 0 {
			t.Errorf("ended with status %d", status)
		}
	}
	if got := api.Total().Requests; got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}
	if got := size(t, data); got == 0 {
		t.Error("nothing was written to /data")
	}
}

// testDemoImage runs the demo of the compose file.
func testDemoImage(t *testing.T, b *buildah) {
	root := b.build("demo", "--target=demo")
	config := b.config("demo")
	if want := []string{"-web.listen-address=0.0.0.0:12233"}; config.User != "65534:65534" || !slices.Equal(config.Cmd, want) {
		t.Errorf("got user %s and %s, want 65534:65534 and %s", config.User, config.Cmd, want)
	}
	view, _ := readOnly(t, root)
	demo := exportertest.Start(t, inside(view, config, "-web.listen-address=127.0.0.1:0"))
	address := demo.Await(`bilibili_exporter runs at http://(\S+),`)
	body := exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	if !strings.Contains(body, "\nbilibili_followers{wmid=\"100006\"} 12\n") || strings.Contains(body, justoneapitest.Token) {
		t.Errorf("the demo shows:\n%s", body)
	}
	if status, _ := demo.End(syscall.SIGTERM); status != 0 {
		t.Errorf("the demo ended with status %d", status)
	}
}
