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

// certificateRefused are curl's possible outcomes when the server refuses its certificate, or the lack of one. With
// TLS 1.3, curl has sent its request by then, and fails to write or to read.
var certificateRefused = []string{"exit status 16", "exit status 55", "exit status 56"}

// access is a way to access the exporter, for curl and Prometheus.
type access struct {
	scheme      string
	ca          string // path of the trusted authority's certificate
	password    string // of the user prometheus; may be empty
	certificate string // directory of the client's cert.pem and key.pem; may be empty
	maxTLS      string // version, for example 1.3
}

// settings returns the keys of a Prometheus job in YAML's flow style.
func (a access) settings() string {
	maxVersion := "TLS" + strings.ReplaceAll(a.maxTLS, ".", "")
	tls := fmt.Sprintf("ca_file: %s, min_version: TLS10, max_version: %s", a.ca, maxVersion)
	if a.certificate != "" {
		tls += fmt.Sprintf(", cert_file: %s/cert.pem, key_file: %[1]s/key.pem", a.certificate)
	}
	settings := fmt.Sprintf("scheme: %s, tls_config: {%s}", a.scheme, tls)
	if a.password != "" {
		settings += fmt.Sprintf(", basic_auth: {username: prometheus, password: %s}", a.password)
	}
	return settings
}

// curl requests a page. The outcome is the HTTP status or, if there is none, curl's exit status.
func (a access) curl(t *testing.T, address, path string) (outcome, body string) {
	t.Helper()
	args := []string{
		"--disable", "--silent", "--noproxy", "*", "--max-time", "20", "--write-out", "%{stderr}%{http_code}",
	}
	if a.scheme == "https" {
		// With this security level curl offers old versions of TLS, so that the server has to refuse them.
		args = append(args, "--cacert", a.ca, "--tls-max", a.maxTLS, "--ciphers", "DEFAULT@SECLEVEL=0")
	}
	if a.certificate != "" {
		args = append(args, "--cert", a.certificate+"/cert.pem", "--key", a.certificate+"/key.pem")
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

// TestWebSecurity checks that curl and Prometheus have access with what the web configuration requires, and not without
// any of it, and that refused clients cause no API requests.
func TestWebSecurity(t *testing.T) {
	t.Parallel()
	ours, foreign := exportertest.NewAuthority(t), exportertest.NewAuthority(t)
	client, foreignClient := ours.Issue(t), foreign.Issue(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := fmt.Sprintf("basic_auth_users: {prometheus: %s}\n", hash)
	server := serverConfig(ours.Issue(t), "")
	mutual := serverConfig(ours.Issue(t), "client_auth_type: RequireAndVerifyClientCert, client_ca_file: "+ours.File)

	mistakes := map[string]struct {
		apply    func(*access)
		outcomes []string // of curl, any of them
	}{
		"wrong password":      {func(a *access) { a.password = "wrong" }, []string{"401"}},
		"no password":         {func(a *access) { a.password = "" }, []string{"401"}},
		"no certificate":      {func(a *access) { a.certificate = "" }, certificateRefused},
		"foreign certificate": {func(a *access) { a.certificate = foreignClient }, certificateRefused},
		"plain HTTP":          {func(a *access) { a.scheme = "http" }, []string{"400"}},
		"TLS 1.1":             {func(a *access) { a.maxTLS = "1.1" }, []string{"exit status 35"}},
		"server not trusted":  {func(a *access) { a.ca = foreign.File }, []string{"exit status 60"}},
	}
	passwords := []string{"wrong password", "no password"}
	certificates := []string{"no certificate", "foreign certificate"}
	protocols := []string{"plain HTTP", "TLS 1.1", "server not trusted"}

	for name, test := range map[string]struct {
		config   string
		right    access
		mistakes []string
	}{
		"TLS": {server, access{scheme: "https", ca: ours.File, maxTLS: "1.2"}, protocols},
		"TLS and password": {
			server + users,
			access{scheme: "https", ca: ours.File, password: "right", maxTLS: "1.3"},
			slices.Concat(protocols, passwords),
		},
		"TLS and certificate": {
			mutual,
			access{scheme: "https", ca: ours.File, certificate: client, maxTLS: "1.3"},
			slices.Concat(protocols, certificates),
		},
		"TLS, certificate and password": {
			mutual + users,
			access{scheme: "https", ca: ours.File, certificate: client, password: "right", maxTLS: "1.3"},
			slices.Concat(protocols, certificates, passwords),
		},
		"password over plain HTTP": {users, access{scheme: "http", password: "right", maxTLS: "1.3"}, passwords},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, file := exportertest.NewAPI(t, exportertest.Steady)
			webFile := exportertest.WriteFile(t, "web.yml", test.config)
			_, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+webFile)
			pages := map[string]string{
				"/metrics": `bilibili_followers{wmid="472747194"} 4.153991e+06`,
				"/":        "<h1>bilibili_exporter</h1>", "/config": "token: <secret>", "/-/healthy": "is healthy",
			}
			var jobs []string
			for _, mistake := range test.mistakes {
				wrong := test.right
				mistakes[mistake].apply(&wrong)
				jobs = append(jobs, wrong.settings())
				for path := range pages {
					want := mistakes[mistake].outcomes
					if got, _ := wrong.curl(t, address, path); !slices.Contains(want, got) {
						t.Errorf("%s, %s: got %s, want one of %q", mistake, path, got, want)
					}
				}
			}
			scrapeWithPrometheus(t, address, jobs...).expect("count(up == 0)", float64(len(jobs)))
			if got := api.Total(); got != (justoneapitest.Tally{}) {
				t.Errorf("refused clients cause API requests: %+v", got)
			}
			for path, want := range pages {
				if got, body := test.right.curl(t, address, path); got != "200" || !strings.Contains(body, want) {
					t.Errorf("%s: got %s and\n%s\nwant 200 and %s", path, got, body, want)
				}
			}
			p := scrapeWithPrometheus(t, address, test.right.settings())
			p.expect("up", 1)
			p.expect("bilibili_followers", 4153991)
			if got, want := api.Total(), (justoneapitest.Tally{Requests: 1, Billed: 1}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// serverConfig returns a web configuration with the cert.pem and key.pem in dir, and further keys in YAML's flow style.
func serverConfig(dir, keys string) string {
	return fmt.Sprintf("tls_server_config: {cert_file: %s/cert.pem, key_file: %[1]s/key.pem, %s}\n", dir, keys)
}

// TestWebSecurityRenewal replaces the server's certificate while the exporter runs.
func TestWebSecurityRenewal(t *testing.T) {
	first, second := exportertest.NewAuthority(t), exportertest.NewAuthority(t)
	dir, renewed := first.Issue(t), second.Issue(t)
	_, file := exportertest.NewAPI(t, exportertest.Steady)
	webFile := exportertest.WriteFile(t, "web.yml", serverConfig(dir, ""))
	_, address := exportertest.StartExporter(t, "--config.file="+file, "--web.config.file="+webFile)
	expect := func(ca *exportertest.Authority, want string) {
		t.Helper()
		if got, _ := (access{scheme: "https", ca: ca.File, maxTLS: "1.3"}).curl(t, address, "/metrics"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	expect(first, "200")
	expect(second, "exit status 60")
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Rename(filepath.Join(renewed, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	expect(first, "exit status 60")
	expect(second, "200")
}
