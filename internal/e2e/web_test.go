//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// tooLate is how curl ends when its certificate, or the lack of one, is refused.
// With TLS 1.3, it has sent its request by then, and meets the refusal as it
// writes or as it reads.
var tooLate = []string{"exit status 16", "exit status 55", "exit status 56"}

// access is a way to reach the exporter, for curl and Prometheus alike. What is
// empty is left out.
type access struct {
	scheme      string
	ca          string // file of the authority that the server is to be known to
	password    string // of the user prometheus
	certificate string // folder of the client's cert.pem and key.pem
	maxTLS      string // such as 1.3
}

// settings returns the settings of a scrape job.
func (a access) settings() string {
	tls := fmt.Sprintf("ca_file: %s, min_version: TLS10, max_version: TLS%s", a.ca, strings.ReplaceAll(a.maxTLS, ".", ""))
	if a.certificate != "" {
		tls += fmt.Sprintf(", cert_file: %s/cert.pem, key_file: %[1]s/key.pem", a.certificate)
	}
	settings := fmt.Sprintf("scheme: %s, tls_config: {%s}", a.scheme, tls)
	if a.password != "" {
		settings += fmt.Sprintf(", basic_auth: {username: prometheus, password: %s}", a.password)
	}
	return settings
}

// curl gets a page. The outcome is the HTTP status or, if there is none, curl's
// exit status.
func (a access) curl(t *testing.T, address, path string) (outcome, body string) {
	t.Helper()
	args := []string{"--disable", "--silent", "--noproxy", "*", "--max-time", "20", "--write-out", "%{stderr}%{http_code}"}
	if a.scheme == "https" {
		// The security level lets curl offer old TLS, so that it is the server that refuses.
		args = append(args, "--cacert", a.ca, "--tls-max", a.maxTLS, "--ciphers", "DEFAULT@SECLEVEL=0")
	}
	if a.certificate != "" {
		args = append(args, "--cert", filepath.Join(a.certificate, "cert.pem"), "--key", filepath.Join(a.certificate, "key.pem"))
	}
	if a.password != "" {
		args = append(args, "--user", "prometheus:"+a.password)
	}
	var status, page strings.Builder
	cmd := exec.Command("curl", append(args, a.scheme+"://"+address+path)...)
	cmd.Stdout, cmd.Stderr = &page, &status
	if err := cmd.Run(); errors.As(err, new(*exec.ExitError)) {
		return err.Error(), page.String()
	} else if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	return status.String(), page.String()
}

// TestWebSecurity lets curl and Prometheus in with what the web configuration
// asks for, and with nothing less. Who is refused causes no call.
func TestWebSecurity(t *testing.T) {
	ours, foreign := exportertest.NewAuthority(t), exportertest.NewAuthority(t)
	client, stranger := ours.Issue(t), foreign.Issue(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := fmt.Sprintf("basic_auth_users: {prometheus: %s}\n", hash)
	server := serverConfig(ours.Issue(t), "")
	mutual := serverConfig(ours.Issue(t), "client_auth_type: RequireAndVerifyClientCert, client_ca_file: "+ours.File)

	mistakes := map[string]struct {
		make     func(*access)
		outcomes []string // of curl: any of them
	}{
		"wrong password":     {func(a *access) { a.password = "wrong" }, []string{"401"}},
		"no password":        {func(a *access) { a.password = "" }, []string{"401"}},
		"no certificate":     {func(a *access) { a.certificate = "" }, tooLate},
		"stranger":           {func(a *access) { a.certificate = stranger }, tooLate},
		"plain HTTP":         {func(a *access) { a.scheme = "http" }, []string{"400"}},
		"TLS 1.1":            {func(a *access) { a.maxTLS = "1.1" }, []string{"exit status 35"}},
		"server not trusted": {func(a *access) { a.ca = foreign.File }, []string{"exit status 60"}},
	}
	passwords := []string{"wrong password", "no password"}
	certificates := []string{"no certificate", "stranger"}
	protocols := []string{"plain HTTP", "TLS 1.1", "server not trusted"}

	for name, test := range map[string]struct {
		config   string
		right    access
		mistakes []string
	}{
		"TLS": {server, access{scheme: "https", ca: ours.File, maxTLS: "1.2"}, protocols},
		"TLS and password": {server + users, access{scheme: "https", ca: ours.File, password: "right", maxTLS: "1.3"},
			slices.Concat(protocols, passwords)},
		"TLS and certificate": {mutual, access{scheme: "https", ca: ours.File, certificate: client, maxTLS: "1.3"},
			slices.Concat(protocols, certificates)},
		"TLS, certificate and password": {mutual + users, access{scheme: "https", ca: ours.File, certificate: client, password: "right", maxTLS: "1.3"},
			slices.Concat(protocols, certificates, passwords)},
		"password over plain HTTP": {users, access{scheme: "http", password: "right", maxTLS: "1.3"}, passwords},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, file := exportertest.NewAPI(t, exportertest.Steady)
			_, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+exportertest.WriteFile(t, "web.yml", test.config))
			pages := map[string]string{
				"/metrics": `bilibili_followers{wmid="472747194"} 4.153991e+06`,
				"/":        "<h1>bilibili_exporter</h1>", "/config": "token: <secret>", "/-/healthy": "is healthy",
			}
			var jobs []string
			for _, mistake := range test.mistakes {
				wrong := test.right
				mistakes[mistake].make(&wrong)
				jobs = append(jobs, wrong.settings())
				for path := range pages {
					if got, _ := wrong.curl(t, address, path); !slices.Contains(mistakes[mistake].outcomes, got) {
						t.Errorf("%s, %s: got %s, want one of %q", mistake, path, got, mistakes[mistake].outcomes)
					}
				}
			}
			startPrometheus(t, address, jobs...).expect("count(up == 0)", float64(len(jobs)))
			if got := api.Total(); got != (justoneapitest.Tally{}) {
				t.Errorf("who is refused causes calls: %+v", got)
			}
			for path, want := range pages {
				if got, body := test.right.curl(t, address, path); got != "200" || !strings.Contains(body, want) {
					t.Errorf("%s: got %s and\n%s\nwant 200 and %s", path, got, body, want)
				}
			}
			p := startPrometheus(t, address, test.right.settings())
			p.expect("up", 1)
			p.expect("bilibili_followers", 4153991)
			if got, want := api.Total(), (justoneapitest.Tally{Requests: 1, Billed: 1}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// serverConfig returns a web configuration for the cert.pem and key.pem in a
// folder, with further keys in YAML's flow style.
func serverConfig(folder, further string) string {
	return fmt.Sprintf("tls_server_config: {cert_file: %s/cert.pem, key_file: %[1]s/key.pem, %s}\n", folder, further)
}

// TestWebSecurityRenewal replaces the server's certificate under the exporter.
func TestWebSecurityRenewal(t *testing.T) {
	first, second := exportertest.NewAuthority(t), exportertest.NewAuthority(t)
	folder, renewed := first.Issue(t), second.Issue(t)
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	_, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+exportertest.WriteFile(t, "web.yml", serverConfig(folder, "")))
	expect := func(ca *exportertest.Authority, want string) {
		t.Helper()
		if got, _ := (access{scheme: "https", ca: ca.File, maxTLS: "1.3"}).curl(t, address, "/metrics"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	expect(first, "200")
	expect(second, "exit status 60")
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Rename(filepath.Join(renewed, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	expect(first, "exit status 60")
	expect(second, "200")
}
