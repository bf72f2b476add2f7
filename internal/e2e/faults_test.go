//go:build e2e

package e2e

import (
	"bufio"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

const (
	scrapeTimeout = 5 * time.Second // as Prometheus tells it; --timeout-offset leaves 2 s of it for busy machines
	callTimeout   = 6 * time.Second // longer, so that calls that hang outlast scrapes
	renewedToken  = "renewed-" + justoneapitest.Token
)

// TestFaults puts the exporter through whatever can go wrong on the way to a
// value, and out of it again: faults of the answers for single users, from
// which the others must not suffer, of the account, and of the network. Most
// of it is waiting: make e2e runs more at a time than there are processors.
func TestFaults(t *testing.T) {
	var answers []justoneapitest.Fault
	for _, fault := range justoneapitest.Faults() {
		if exportertest.Explain(fault.Code).Scope != justoneapi.ScopeAccount {
			answers = append(answers, fault)
			continue
		}
		t.Run("account/"+fault.Name, func(t *testing.T) {
			t.Parallel()
			testAccountFault(t, fault)
		})
	}
	t.Run("answers", func(t *testing.T) {
		t.Parallel()
		testAnswers(t, answers)
	})
	t.Run("network/name resolution", testNameResolution)
	known := newCertificates(t)
	for name, fault := range networkFaults(known) {
		t.Run("network/"+name, func(t *testing.T) {
			t.Parallel()
			testNetworkFault(t, fault, known)
		})
	}
}

// user is a user whose counts are the time of the call, in milliseconds: each
// is another, and tells its age.
type user struct {
	wmid     int64
	fault    justoneapitest.Fault // that meets the user; without a code, none does
	newcomer bool                 // who is met at the first call
	given    atomic.Int64
	failures atomic.Int64 // answers that were the fault
}

func (u *user) good(x *justoneapitest.Exchange) {
	now := time.Now().UnixMilli()
	u.given.Store(now)
	justoneapitest.Stat(justoneapitest.Constant(now), now)(x)
}

func (u *user) bad(x *justoneapitest.Exchange) {
	u.failures.Add(1)
	u.fault.Answer(x)
}

func (u *user) series(name string) string { return fmt.Sprintf(`%s{wmid="%d"}`, name, u.wmid) }

func (u *user) lastError() string {
	return fmt.Sprintf(`bilibili_last_error_info{code="%s",wmid="%d"}`, u.fault.Code, u.wmid)
}

// samples are the samples of a scrape, by their series.
type samples map[string]float64

// failures returns how many calls failed, by code.
func (s samples) failures() map[string]int {
	failures := make(map[string]int)
	for series, value := range s {
		if code, ok := strings.CutPrefix(series, `upstream_error_code{code="`); ok && value > 0 {
			failures[strings.TrimSuffix(code, `"}`)] = int(value)
		}
	}
	return failures
}

// subject is an exporter that is put through a fault.
type subject struct {
	*exportertest.Process
	file, url     string
	users         []*user
	during, after samples // of scrapes while the fault lasts, and when it is over
	page          string  // the status page while it lasts
	crowded       bool    // whether there are more users than the log names
}

// newSubject starts an exporter whose section api holds the given settings.
func newSubject(t *testing.T, start func(*testing.T, ...string) (*exportertest.Process, string), settings string, users ...*user) *subject {
	t.Helper()
	text := fmt.Sprintf("api: {%s, token: %s, timeout: %v, max_concurrency: 16, max_requests_per_second: 1000}\nquota: {min_interval: 2s}\nusers:\n",
		settings, justoneapitest.Token, callTimeout)
	for _, u := range users {
		text += fmt.Sprintf("  - {wmid: %d, name: n%d", u.wmid, u.wmid)
		if u.fault.Code == "" {
			text += ", min_interval: 1s"
		}
		text += "}\n"
	}
	s := &subject{file: exportertest.WriteFile(t, "b.yml", text), users: users}
	p, address := start(t, "--config.file="+s.file, "--timeout-offset=2")
	s.Process, s.url = p, "http://"+address
	return s
}

// asPrometheus tells the timeout of a scrape.
type asPrometheus struct{}

func (asPrometheus) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(scrapeTimeout.Seconds()))
	return http.DefaultTransport.RoundTrip(r)
}

// scrape scrapes, within the timeout. Users whom no fault meets are up, and
// have values as young as if there were none.
func (s *subject) scrape() samples {
	s.T.Helper()
	got := make(samples)
	for line := range strings.Lines(s.get(&http.Client{Transport: asPrometheus{}, Timeout: scrapeTimeout}, "/metrics")) {
		if end := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
			if err != nil {
				s.T.Fatal(err)
			}
			got[line[:end]] = value
		}
	}
	for _, u := range s.users {
		age := time.Since(time.UnixMilli(int64(got[u.series("bilibili_followers")])))
		if up := got[u.series("bilibili_up")]; u.fault.Code == "" && (up != 1 || age > callTimeout) {
			s.T.Errorf("user %d suffers from the faults of others: up is %v, the value %v old", u.wmid, up, age)
		}
	}
	return got
}

// get returns a page, on which the token is not.
func (s *subject) get(client *http.Client, path string) string {
	s.T.Helper()
	body := exportertest.Get(s.T, client, s.url+path)
	if strings.Contains(body, justoneapitest.Token) {
		s.T.Errorf("the token is on %s:\n%s", path, body)
	}
	return body
}

// scrapeUntil scrapes until what it sees is as wanted, or for a while, and
// returns what it saw last.
func (s *subject) scrapeUntil(patience time.Duration, wanted func(samples) bool) samples {
	s.T.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if got := s.scrape(); wanted(got) || time.Now().After(deadline) {
			return got
		}
	}
}

// all reports whether something holds for all users.
func (s *subject) all(holds func(*user) bool) bool {
	return !slices.ContainsFunc(s.users, func(u *user) bool { return !holds(u) })
}

// endure puts the exporter through a fault, until calls have failed as wanted,
// and then until it has recovered: for that it has the pause, or the interval
// of the users, and some seconds.
func (s *subject) endure(begin func(), failed func(samples) bool, end func(), pause time.Duration) {
	s.T.Helper()
	s.scrapeUntil(30*time.Second, func(got samples) bool {
		return s.all(func(u *user) bool { return u.newcomer || got[u.series("bilibili_up")] == 1 })
	})
	begin()
	s.during = s.scrapeUntil(30*time.Second, func(got samples) bool {
		s.checkKept(got)
		return failed(got) && s.all(func(u *user) bool { return u.fault.Code == "" || got[u.lastError()] == 1 })
	})
	s.page = s.get(http.DefaultClient, "/") + s.get(http.DefaultClient, "/?page=2")
	end()
	for _, u := range s.users {
		pause = max(pause, time.Duration(s.during[u.series("bilibili_user_interval_seconds")])*time.Second)
	}
	s.after = s.scrapeUntil(pause+10*time.Second, func(got samples) bool {
		return s.all(func(u *user) bool { return got[u.series("bilibili_up")] == 1 })
	})
	if status, _ := s.End(syscall.SIGTERM); status != 0 { // now the log is complete
		s.T.Errorf("it ended with status %d", status)
	}
	if strings.Contains(s.Log(), justoneapitest.Token) {
		s.T.Error("the token is in the log")
	}
}

// checkKept sees that who fails keeps the counts from before, or has none.
func (s *subject) checkKept(got samples) {
	s.T.Helper()
	for _, u := range s.users {
		followers, following, want := got[u.series("bilibili_followers")], got[u.series("bilibili_following")], float64(u.given.Load())
		if got[u.lastError()] == 1 && (followers != want || following != want) {
			s.T.Errorf("user %d fails with code %s, and has %f followers and %f following, want %f", u.wmid, u.fault.Code, followers, following, want)
		}
	}
}

// check looks at what was seen of a user whom the fault has met.
func (s *subject) check(t *testing.T, u *user) {
	t.Helper()
	kind := exportertest.Explain(u.fault.Code)
	if s.during[u.series("bilibili_up")] != 0 || s.during[u.lastError()] != 1 {
		t.Errorf("user %d did not fail with code %s", u.wmid, u.fault.Code)
	}
	_, fails := s.after[u.lastError()]
	if s.after[u.series("bilibili_up")] != 1 || fails || s.after[u.series("bilibili_followers")] <= s.during[u.series("bilibili_followers")] {
		t.Errorf("user %d has not recovered from code %s", u.wmid, u.fault.Code)
	}
	if !slices.ContainsFunc(strings.Split(s.page, "</tr>"), func(row string) bool {
		return strings.Contains(row, fmt.Sprintf(">%d</td>", u.wmid)) && strings.Contains(row, u.fault.Code+": "+html.EscapeString(kind.Meaning)) &&
			strings.Contains(row, html.EscapeString(advice.For(kind)))
	}) {
		t.Errorf("the status page lacks user %d, or meaning or advice of code %s", u.wmid, u.fault.Code)
	}
	warnings := 1
	if kind.Scope == justoneapi.ScopeAccount {
		warnings = 0 // the pause is told of
	}
	name := fmt.Sprintf("wmid=%d name=n%d ", u.wmid, u.wmid)
	s.checkLog(t, warnings, "level=warn", name)
	s.checkLog(t, warnings, "level=warn", name, `msg="Error fetching user"`, " code="+u.fault.Code+" ", kind.Meaning, " billed=", " advice=", " next_request=20")
	s.checkLog(t, warnings, "level=info", name, `msg="User recovered"`, " last_code="+u.fault.Code)
}

// checkLog counts the lines of the log that hold all the texts.
func (s *subject) checkLog(t *testing.T, want int, texts ...string) {
	t.Helper()
	var got int
	for line := range strings.Lines(s.Log()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			got++
		}
	}
	if got > want || got < want && !s.crowded {
		t.Errorf("got %d lines in the log with %q, want %d", got, texts, want)
	}
}

// testAnswers puts one exporter through all faults of answers, each for a user
// who has a value and for one who never had any.
func testAnswers(t *testing.T, faults []justoneapitest.Fault) {
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	users := []*user{{wmid: 1}, {wmid: 2}, {wmid: 3}}
	for i, fault := range faults {
		users = append(users, &user{wmid: int64(1000 + i), fault: fault}, &user{wmid: int64(2000 + i), fault: fault, newcomer: true})
	}
	victims := users[3:]
	for _, u := range users {
		api.Set(u.wmid, u.good)
		if u.newcomer {
			api.Set(u.wmid, u.bad)
		}
	}
	s := newSubject(t, exportertest.StartExporter, "base_url: '"+api.URL+"'", users...)
	s.crowded = true
	s.endure(func() {
		for _, u := range victims {
			api.Set(u.wmid, u.bad)
		}
	}, func(samples) bool {
		return !slices.ContainsFunc(victims, func(u *user) bool { return u.failures.Load() < 2 })
	}, func() {
		for _, u := range victims {
			api.Set(u.wmid, u.good)
		}
	}, 0)
	want := make(map[string]int)
	for pair := range slices.Chunk(victims, 2) {
		t.Run(pair[0].fault.Name, func(t *testing.T) {
			s.check(t, pair[0])
			s.check(t, pair[1])
		})
		want[pair[0].fault.Code] += int(pair[0].failures.Load() + pair[1].failures.Load())
	}
	if got := s.after.failures(); !maps.Equal(got, want) {
		t.Errorf("upstream_error_code counts %v, the API %v", got, want)
	}
	s.checkSum(2 * len(victims))
}

// checkSum counts what the log tells of users, those included that it does not
// name: each has failed and recovered.
func (s *subject) checkSum(want int) {
	s.T.Helper()
	got := strings.Count(s.Log(), `msg="Error fetching user"`) + strings.Count(s.Log(), `msg="User recovered"`)
	for _, left := range regexp.MustCompile(`suppressed=(\d+)`).FindAllStringSubmatch(s.Log(), -1) {
		n, err := strconv.Atoi(left[1])
		if err != nil {
			s.T.Fatal(err)
		}
		got += n
	}
	if got != want {
		s.T.Errorf("the log tells of %d failures and recoveries, want %d", got, want)
	}
}

// testAccountFault has the account refused until an operator gives the exporter
// another token; a refusal that soon passes is waited for.
func testAccountFault(t *testing.T, fault justoneapitest.Fault) {
	u, kind := &user{wmid: 1000, fault: fault}, exportertest.Explain(fault.Code)
	api, renewed := justoneapitest.NewAPI(), justoneapitest.NewAPI()
	api.SetAll(u.good)
	renewed.SetAll(u.good)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := strings.Replace(r.URL.RawQuery, renewedToken, justoneapitest.Token, 1)
		if known == r.URL.RawQuery {
			api.ServeHTTP(w, r)
			return
		}
		r.URL.RawQuery = known
		renewed.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s := newSubject(t, exportertest.StartExporter, "base_url: '"+server.URL+"'", u)
	end, pause := s.rotateToken, time.Duration(0)
	if kind.Reason == justoneapi.ReasonRateLimit {
		end, pause = func() { api.SetAll(u.good) }, 30*time.Second
	}
	paused := fmt.Sprintf(`bilibili_api_paused{reason="%s"}`, kind.Reason)
	s.endure(func() { api.SetAll(u.bad) }, func(got samples) bool { return got[paused] == 1 }, end, pause)
	s.check(t, u)
	if words := html.EscapeString("Calls are paused: " + kind.Meaning + " (" + fault.Code + ")."); !strings.Contains(s.page, words) {
		t.Errorf("the status page lacks %q", words)
	}
	if s.during[paused] != 1 || s.after[paused] != 0 {
		t.Errorf("%s was %v and is %v", paused, s.during[paused], s.after[paused])
	}
	if got, want := s.after.failures(), map[string]int{fault.Code: 1}; !maps.Equal(got, want) || u.failures.Load() != 1 {
		t.Errorf("upstream_error_code counts %v, the API has refused %d calls, want 1", got, u.failures.Load())
	}
	s.checkLog(t, 1, `msg="Requests paused"`)
	s.checkLog(t, 1, "level=warn", `msg="Requests paused"`, " reason="+string(kind.Reason), kind.Meaning, " advice=", " next_probe=20")
	s.checkLog(t, 1, "level=info", `msg="Resuming API requests`)
}

// rotateToken gives the exporter another token.
func (s *subject) rotateToken() {
	s.T.Helper()
	exportertest.Replace(s.T, s.file, justoneapitest.Token, renewedToken)
	s.Signal(syscall.SIGHUP)
	s.Await(`msg="(The configuration was reloaded)"`)
}

// endureNetwork puts the exporter of an API that knows two users through a
// fault that keeps all calls, twice at least, from reaching the API.
func (s *subject) endureNetwork(api *justoneapitest.Server, begin, end func()) {
	s.T.Helper()
	code := s.users[0].fault.Code
	s.endure(begin, func(got samples) bool { return got.failures()[code] >= 2*len(s.users) }, end, 0)
	for _, u := range s.users {
		s.check(s.T, u)
	}
	want := map[string]int{code: int(s.after["bilibili_api_requests_total"]) - api.Total().Requests}
	if got := s.after.failures(); !maps.Equal(got, want) {
		s.T.Errorf("upstream_error_code counts %v, want %v: the requests that the API has not had", got, want)
	}
}

// newVictims returns an API and two users whom a fault of the network with the
// given code will meet.
func newVictims(t *testing.T, code string) (api *justoneapitest.Server, address string, users []*user) {
	api = justoneapitest.NewServer()
	t.Cleanup(api.Close)
	for wmid := range int64(2) {
		u := &user{wmid: 1000 + wmid, fault: justoneapitest.Fault{Code: code}}
		api.Set(u.wmid, u.good)
		users = append(users, u)
	}
	return api, strings.TrimPrefix(api.URL, "http://"), users
}

// testNameResolution takes the API's name away, in a mount namespace of the
// exporter's own, where no name server is reached.
func testNameResolution(t *testing.T) {
	t.Parallel()
	hosts, resolver := exportertest.WriteFile(t, "hosts", ""), exportertest.WriteFile(t, "resolv.conf", "nameserver 127.0.0.1\n")
	write := func(text string) func() {
		return func() {
			if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget, know := write("127.0.0.1 localhost\n"), write("127.0.0.1 justoneapi.invalid\n")
	know()
	api, address, users := newVictims(t, justoneapi.CodeNetwork)
	s := newSubject(t, func(t *testing.T, args ...string) (*exportertest.Process, string) {
		cmd := exportertest.Command(append(args, "--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir())...)
		cmd.Args = append([]string{"sh", "-c", `mount --bind "` + hosts + `" /etc/hosts && mount --bind "` + resolver + `" /etc/resolv.conf && exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(cmd.Env, "GODEBUG=netdns=go") // as in the released binary
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		p := exportertest.Start(t, cmd)
		return p, p.Await(`msg="Listening on" address=(\S+)`)
	}, "base_url: 'http://"+strings.Replace(address, "127.0.0.1", "justoneapi.invalid", 1)+"', http_client: {proxy_from_environment: false}", users...)
	s.endureNetwork(api, forget, know)
}

// encounter is what a connection meets on its way to an address.
type encounter func(conn net.Conn, to string)

// passOn lets a connection through.
func passOn(conn net.Conn, to string) {
	defer conn.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	go func() {
		io.Copy(server, conn) //nolint:errcheck // either side may leave
		server.Close()
	}()
	io.Copy(conn, server) //nolint:errcheck // see above
}

// secured is TLS, and lets through what is in it.
func secured(certificate tls.Certificate) encounter {
	return func(conn net.Conn, to string) {
		passOn(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}), to)
	}
}

// proxy is a proxy's answer to CONNECT, and then next.
func proxy(status string, next encounter) encounter {
	return func(conn net.Conn, to string) {
		http.ReadRequest(bufio.NewReader(conn)) //nolint:errcheck // the answer is the same
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", status)
		next(conn, to)
	}
}

// hangUp closes a connection.
func hangUp(conn net.Conn, _ string) { conn.Close() }

// silence waits until the client leaves.
func silence(conn net.Conn, _ string) {
	io.Copy(io.Discard, conn) //nolint:errcheck // however it leaves
	conn.Close()
}

// babble speaks before it is asked.
func babble(conn net.Conn, to string) {
	fmt.Fprintf(conn, "220 hello, token=%s\r\n", justoneapitest.Token)
	silence(conn, to)
}

// gate is an address on the way to another.
type gate struct {
	t           *testing.T
	address, to string
	meet        atomic.Pointer[encounter]
	listener    net.Listener // nil while nobody listens
}

// newGate returns a gate that nobody listens at yet. Nobody else gets its
// address: a socket that does not listen holds it.
func newGate(t *testing.T, to string) *gate {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) }) //nolint:errcheck // it was never used
	err = errors.Join(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, nameErr := syscall.Getsockname(socket)
	if err := errors.Join(err, nameErr); err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, address: fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), to: to}
	t.Cleanup(func() { g.set(nil) })
	return g
}

// set changes what connections meet; with nil, nobody listens.
func (g *gate) set(meet encounter) {
	g.t.Helper()
	g.meet.Store(&meet)
	switch {
	case meet == nil && g.listener != nil:
		g.listener.Close()
		g.listener = nil
	case meet != nil && g.listener == nil:
		listener, err := net.Listen("tcp", g.address)
		if err != nil {
			g.t.Fatal(err)
		}
		g.listener = listener
		go g.serve(listener)
	}
}

func (g *gate) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if meet := *g.meet.Load(); meet != nil {
			go meet(conn, g.to)
		} else {
			conn.Close()
		}
	}
}

// certificates are those that a server may show; all but the unknown one are in
// the file of those to trust.
type certificates struct {
	good, unknown, misnamed, expired tls.Certificate
	file                             string
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	var trusted strings.Builder
	issue := func(name string, host byte, end time.Duration, to io.Writer) tls.Certificate {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, host)}, NotAfter: time.Now().Add(end)}
		certificate, err := x509.CreateCertificate(nil, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(to, &pem.Block{Type: "CERTIFICATE", Bytes: certificate}) //nolint:errcheck // it goes to memory
		return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: private}
	}
	c := &certificates{
		good:     issue("good", 1, time.Hour, &trusted),
		misnamed: issue("misnamed", 2, time.Hour, &trusted),
		expired:  issue("expired", 1, -time.Hour, &trusted),
		unknown:  issue("unknown", 1, time.Hour, io.Discard),
	}
	c.file = exportertest.WriteFile(t, "trusted.pem", trusted.String())
	return c
}

// networkFault is what calls over HTTP, over HTTPS or through a proxy meet on
// their way.
type networkFault struct {
	way, code string
	meet      encounter // nil: nobody listens
}

func networkFaults(c *certificates) map[string]networkFault {
	return map[string]networkFault{
		"connection refused":           {"http", justoneapi.CodeNetwork, nil},
		"connection closed at once":    {"http", justoneapi.CodeNetwork, hangUp},
		"black hole":                   {"http", justoneapi.CodeTimeout, silence},
		"answer before the question":   {"http", justoneapi.CodeNetwork, babble},
		"black hole in place of TLS":   {"https", justoneapi.CodeTimeout, silence},
		"plain HTTP in place of TLS":   {"https", justoneapi.CodeNetwork, passOn},
		"untrusted certificate":        {"https", justoneapi.CodeNetwork, secured(c.unknown)},
		"certificate for another name": {"https", justoneapi.CodeNetwork, secured(c.misnamed)},
		"expired certificate":          {"https", justoneapi.CodeNetwork, secured(c.expired)},
		"proxy down":                   {"proxy", justoneapi.CodeNetwork, nil},
		"proxy that hangs":             {"proxy", justoneapi.CodeTimeout, silence},
		"proxy without a way":          {"proxy", justoneapi.CodeNetwork, proxy("502 Bad Gateway", hangUp)},
		"proxy that wants a password":  {"proxy", justoneapi.CodeNetwork, proxy("407 Proxy Authentication Required", hangUp)},
	}
}

func testNetworkFault(t *testing.T, fault networkFault, c *certificates) {
	api, address, users := newVictims(t, fault.code)
	g, good, client := newGate(t, address), encounter(passOn), ""
	url := fault.way + "://" + g.address
	switch fault.way {
	case "https":
		good = secured(c.good)
	case "proxy":
		server := newGate(t, address)
		server.set(secured(c.good))
		g.to, good, url, client = server.address, proxy("200 OK", passOn), "https://"+server.address, ", proxy_url: 'http://"+g.address+"'"
	}
	g.set(good)
	s := newSubject(t, exportertest.StartExporter, "base_url: '"+url+"', http_client: {tls_config: {ca_file: "+c.file+"}"+client+"}", users...)
	s.endureNetwork(api, func() { g.set(fault.meet) }, func() { g.set(good) })
}
