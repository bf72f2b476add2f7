//go:build packages

package packaging

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

const (
	older, newer = "1.2.3", "1.10.0" // versions, in this order

	etc     = "/etc/bilibili_exporter"
	state   = "/var/lib/bilibili_exporter/data/state.db"
	service = "bilibili_exporter.service"
)

// build builds the packages of a version for some platforms and returns their directory.
func build(t *testing.T, version, platforms string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("make", "packages", "VERSION="+version, "PACKAGED="+platforms)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make packages: %v\n%s", err, out)
	}
	for _, path := range exportertest.Glob(t, ".tarballs/bilibili-exporter*") {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// manager is how packages of one format are installed on a machine and removed.
type manager struct {
	format          string // of the names of packages, with the version
	install, remove []string
	files, config   string   // a command that lists the files, and how its lines about edited files that are kept start
	savedConfig     string   // where the edited configuration is after the removal
	purge           []string // nil if packages are only removed
}

var managers = []manager{
	{
		format:      "bilibili-exporter_VERSION-1_amd64.deb",
		install:     []string{"apt-get", "install", "--yes", "--no-install-recommends", "--option=APT::Sandbox::User=root"},
		remove:      []string{"apt-get", "remove", "--yes", "bilibili-exporter"},
		purge:       []string{"apt-get", "purge", "--yes", "bilibili-exporter"},
		files:       "cat /var/lib/dpkg/info/bilibili-exporter.conffiles",
		savedConfig: etc + "/bilibili_exporter.yml",
	},
	{
		format:      "bilibili-exporter-VERSION-1.x86_64.rpm",
		install:     []string{"rpm", "--upgrade", "--nodeps"}, // Debian's packages are not in RPM's database
		remove:      []string{"rpm", "--erase", "bilibili-exporter"},
		files:       `rpm --query --queryformat=[%{FILEFLAGS:fflags}\t%{FILENAMES}\n] bilibili-exporter`,
		config:      "cn\t", // configuration, not replaced
		savedConfig: etc + "/bilibili_exporter.yml.rpmsave",
	},
}

// TestInstall installs, configures, upgrades and removes the packages on a machine, with the service running.
func TestInstall(t *testing.T) {
	const platform = "linux/amd64"
	packages := map[string]string{older: build(t, older, platform), newer: build(t, newer, platform)}
	for _, f := range managers {
		t.Run(filepath.Ext(f.format), func(t *testing.T) {
			m := boot(t)
			api := justoneapitest.NewServer()
			defer api.Close()
			api.SetAll(exportertest.Steady)

			m.expectMessage(m.upgrade(f, packages, older))
			m.expectInstalled(f)
			m.expectNotConfigured()
			m.configure(api.URL)
			m.run("systemctl", "enable", "--now", service)
			m.expectScrape(older)
			m.expectUser()

			if out := m.upgrade(f, packages, newer); strings.Contains(out, "systemctl enable") {
				t.Errorf("the upgrade advises to enable the service:\n%s", out)
			}
			m.expectScrape(newer)
			m.expect("enabled", "systemctl", "is-enabled", service)
			if got := api.Total().Requests; got != 1 {
				t.Errorf("got %d requests, want 1", got)
			}
			m.expectRemoved(f)
		})
	}
}

// upgrade installs the package of a version, and returns the output.
func (m *machine) upgrade(f manager, packages map[string]string, version string) string {
	m.Helper()
	name := strings.Replace(f.format, "VERSION", version, 1)
	m.write("/var/tmp/"+name, exportertest.ReadFile(m.T, filepath.Join(packages[version], name)))
	return m.run(append(f.install, "/var/tmp/"+name)...)
}

// expectMessage checks that the output of the first installation contains a command that starts the service.
func (m *machine) expectMessage(out string) {
	m.Helper()
	if !strings.Contains(out, "Then run: systemctl enable --now bilibili_exporter") {
		m.Errorf("the installation does not say how to continue:\n%s", out)
	}
	m.expect("disabled", "systemctl", "is-enabled", service)
	m.expect("inactive", "systemctl", "is-active", service)
	m.expect("", "systemd-analyze", "verify", service)
}

// expectInstalled checks the owners and the permissions of the files.
func (m *machine) expectInstalled(f manager) {
	m.Helper()
	files := "\n" + m.run(strings.Fields(f.files)...)
	for _, path := range []string{etc + "/bilibili_exporter.yml", "/etc/default/bilibili_exporter"} {
		if want := "\n" + f.config + path + "\n"; !strings.Contains(files, want) {
			m.Errorf("%s is not a configuration file:%s", path, files)
		}
	}
	for path, want := range map[string]string{
		"/usr/bin/bilibili_exporter":                 "root root 755",
		"/usr/lib/systemd/system/" + service:         "root root 644",
		etc:                                          "root bilibili_exporter 750",
		etc + "/bilibili_exporter.yml":               "root bilibili_exporter 640",
		"/etc/default/bilibili_exporter":             "root root 640",
		"/usr/share/man/man1/bilibili_exporter.1.gz": "root root 644",
		"/usr/share/doc/bilibili-exporter/copyright": "root root 644",
	} {
		m.expect(want, "stat", "--format=%U %G %a", path)
	}
	m.expect("bilibili_exporter", "id", "--name", "--user", "bilibili_exporter")
}

// expectNotConfigured checks that the service does not start yet, and that its log names what is missing.
func (m *machine) expectNotConfigured() {
	m.Helper()
	if out, err := m.try("systemctl", "start", service); err == nil {
		m.Errorf("the service starts without configuration:\n%s", out)
	}
	for _, problem := range []string{"api.token_file: " + etc + "/token: no such file", "users: want at least one user"} {
		m.journal(`(?m)^` + etc + `/bilibili_exporter\.yml:\d+: (` + regexp.QuoteMeta(problem) + `)`)
	}
	m.run("systemctl", "stop", service)
}

// configure writes the token, the user and a flag.
func (m *machine) configure(url string) {
	m.Helper()
	m.write(etc+"/token", justoneapitest.Token+"\n")
	for path, replace := range map[string][2]string{
		etc + "/bilibili_exporter.yml":   {"users:\n", "users: [472747194]\n"},
		"/etc/default/bilibili_exporter": {`ARGS=""`, `ARGS="--web.listen-address=127.0.0.1:0 --log.level=debug"`},
	} {
		text := exportertest.ReadFile(m.T, m.path(path))
		text = strings.Replace(text, replace[0], replace[1], 1)
		m.write(path, strings.Replace(text, "api:\n", "api:\n  base_url: "+url+"\n", 1))
	}
}

// expectScrape checks what the service exposes, and its state.
func (m *machine) expectScrape(version string) {
	m.Helper()
	m.expect("active", "systemctl", "is-active", service)
	address := m.journal(`msg="Listening on" address=(\S+)`)
	body := exportertest.Get(m.T, http.DefaultClient, "http://"+address+"/metrics")
	for _, want := range []string{
		`bilibili_followers{wmid="472747194"} 4.153991e+06`, "process_start_time_seconds", `version="` + version + `"`,
	} {
		if !strings.Contains(body, want) {
			m.Errorf("/metrics lacks %s:\n%s", want, body)
		}
	}
	m.expect("bilibili_exporter bilibili_exporter 600", "stat", "--format=%U %G %a", state)
}

// expectUser checks the user of the process.
func (m *machine) expectUser() {
	m.Helper()
	pid := strings.TrimSpace(m.run("systemctl", "show", "--property=MainPID", "--value", service))
	m.expect("bilibili_exporter bilibili_exporter", "stat", "--format=%U %G", "/proc/"+pid)
}

// expectRemoved removes the package and then, if the format knows that, everything that belongs to it.
func (m *machine) expectRemoved(f manager) {
	m.Helper()
	m.run(f.remove...)
	m.expect("inactive", "systemctl", "is-active", service)
	m.expect("", "find", "/etc/systemd", "-name", service)
	kept := exportertest.ReadFile(m.T, m.path(f.savedConfig))
	if _, err := os.Stat(m.path(state)); err != nil || !strings.Contains(kept, "472747194") {
		m.Errorf("state: %v; configuration:\n%s", err, kept)
	}
	if f.purge != nil {
		m.run(f.purge...)
		m.expect("", "find", "/etc", "/usr", "/var/lib", "-name", "*bilibili?exporter*", "-not", "-path", "/usr/local/*")
		m.expect("", "getent", "passwd", "bilibili_exporter")
		m.expect("", "getent", "group", "bilibili_exporter")
	}
}
