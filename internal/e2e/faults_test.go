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
	scrapeTimeout = 5 * time.Second // of which --timeout-offset reserves 2 s for slow machines
	apiTimeout    = 6 * time.Second // longer, so that hanging requests outlast scrapes
	newToken      = "new-" + justoneapitest.Token
)

// TestFaults puts exporters through faults and out of them again: refusals of the account, outages, faults of the
// network, and wrong responses about the balance. Most of the time is spent waiting, so make e2e runs more tests at a
// time than there are processors.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range justoneapitest.Faults() {
		if !concernsAccount(fault) {
			continue
		}
		t.Run("account/"+fault.Name, func(t *testing.T) {
			t.Parallel()
			testAccountFault(t, fault)
		})
	}
	for name, outage := range outages() {
		t.Run("outage/"+name, func(t *testing.T) {
			t.Parallel()
			testOutage(t, outage)
		})
	}
	for faults := range slices.Chunk(slices.Sorted(maps.Keys(balanceFaults())), 7) {
		t.Run("balance/"+faults[0], func(t *testing.T) {
			t.Parallel()
			testBalanceFaults(t, faults)
		})
	}
	t.Run("network/name resolution", testNameResolution)
	certificates := newCertificates(t)
	for name, fault := range networkFaults(certificates) {
		t.Run("network/"+name, func(t *testing.T) {
			t.Parallel()
			testNetworkFault(t, fault, certificates)
		})
	}
}

// user is a user whose counts are the time of the request in milliseconds, so that every value shows its age.
type user struct {
	wmid     int64
	fault    justoneapitest.Fault // without a code, the user is not affected
	fresh    bool                 // the first request meets the fault already
	latest   atomic.Int64         // value
	failures atomic.Int64         // responses that were the fault
}

func (u *user) succeed(x *justoneapitest.Exchange) {
	now := time.Now().UnixMilli()
	u.latest.Store(now)
	justoneapitest.Stat(justoneapitest.Constant(now), now)(x)
}

func (u *user) fail(x *justoneapitest.Exchange) {
	u.failures.Add(1)
	u.fault.Response(x)
}

func (u *user) series(name string) string { return fmt.Sprintf(`%s{wmid="%d"}`, name, u.wmid) }

func (u *user) lastError() string {
	return fmt.Sprintf(`bilibili_last_error_info{code="%s",wmid="%d"}`, u.fault.Code, u.wmid)
}

// samples are the samples of a scrape by series.
type samples map[string]float64

// failures returns the number of failed requests by code.
func (s samples) failures() map[string]int {
	failures := make(map[string]int)
	for series, value := range s {
		if code, ok := strings.CutPrefix(series, `upstream_error_code{code="`); ok && value > 0 {
			failures[strings.TrimSuffix(code, `"}`)] = int(value)
		}
	}
	return failures
}

// faultTest is an exporter that is put through a fault.
type faultTest struct {
	*exportertest.Process
	file, url     string
	users         []*user
	started       bool          // whether all users that succeed have succeeded once
	during, after samples       // of the last scrapes during and after the fault
	page          string        // the status page during the fault
	slowest       time.Duration // scrape
	logLimited    bool          // whether there are more failures than the log reports one by one
}

// startFunc starts the exporter and returns its address.
type startFunc func(t *testing.T, args ...string) (*exportertest.Process, string)

// startInMemory starts an exporter without storage, so that a single slot does not wait for the disk at each request.
func startInMemory(t *testing.T, args ...string) (*exportertest.Process, string) {
	t.Helper()
	return exportertest.StartExporter(t, append(args, "--storage.path=")...)
}

// newFaultTest starts an exporter. apiKeys are further keys of the section api in YAML's flow style.
func newFaultTest(t *testing.T, start startFunc, apiKeys string, users ...*user) *faultTest {
	t.Helper()
	text := fmt.Sprintf("api: {%s, token: %s, timeout: %v, ", apiKeys, justoneapitest.Token, apiTimeout)
	text += "max_requests_per_second: 1000}\nquota: {min_interval: 2s}\nusers:\n"
	for _, u := range users {
		text += fmt.Sprintf("  - {wmid: %d, name: n%d}\n", u.wmid, u.wmid)
	}
	s := &faultTest{file: exportertest.WriteFile(t, "b.yml", text), users: users}
	p, address := start(t, "--config.file="+s.file, "--timeout-offset=2")
	s.Process, s.url = p, "http://"+address
	return s
}

// scrape scrapes within the timeout. It checks that the fault does not affect other users: they are up, and their
// values are recent.
func (f *faultTest) scrape() samples {
	f.T.Helper()
	got, start := make(samples), time.Now()
	body := f.get(&http.Client{Transport: exportertest.ScrapeTransport(scrapeTimeout), Timeout: scrapeTimeout}, "/metrics")
	f.slowest = max(f.slowest, time.Since(start))
	for line := range strings.Lines(body) {
		if end := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
			if err != nil {
				f.T.Fatal(err)
			}
			got[line[:end]] = value
		}
	}
	for _, u := range f.users {
		age := time.Since(time.UnixMilli(int64(got[u.series("bilibili_followers")])))
		if up := got[u.series("bilibili_up")]; u.fault.Code == "" && f.started && (up != 1 || age > apiTimeout) {
			f.T.Errorf("user %d is affected by the faults of others: up is %v, the age of the value %v", u.wmid, up, age)
		}
	}
	return got
}

// get returns a page and checks that the token is not on it.
func (f *faultTest) get(client *http.Client, path string) string {
	f.T.Helper()
	body := exportertest.Get(f.T, client, f.url+path)
	if strings.Contains(body, justoneapitest.Token) {
		f.T.Errorf("the token is on %s:\n%s", path, body)
	}
	return body
}

// scrapeUntil scrapes until the samples are as wanted or the timeout has expired, and returns the last samples.
func (f *faultTest) scrapeUntil(timeout time.Duration, wanted func(samples) bool) samples {
	f.T.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(100 * time.Millisecond) {
		if got := f.scrape(); wanted(got) || time.Now().After(deadline) {
			return got
		}
	}
}

// all reports whether a condition holds for all users.
func (f *faultTest) all(holds func(*user) bool) bool {
	return !slices.ContainsFunc(f.users, func(u *user) bool { return !holds(u) })
}

// awaitStart waits until all users have a value but those that meet the fault at once.
func (f *faultTest) awaitStart() {
	f.T.Helper()
	f.scrapeUntil(time.Minute, func(got samples) bool {
		return f.all(func(u *user) bool { return u.fresh || got[u.series("bilibili_up")] == 1 })
	})
	f.started = true
}

// run starts the fault, waits until requests have failed as wanted and all other users have got a value since, ends the
// fault, and waits until all users have recovered. For that they have the pause or their interval, and some seconds.
func (f *faultTest) run(start func(), failed func(samples) bool, end func(), pause time.Duration) {
	f.T.Helper()
	f.awaitStart()
	start()
	began := float64(time.Now().UnixMilli())
	requested := func(got samples, u *user) bool { // since the fault began
		if u.fault.Code != "" {
			return got[u.lastError()] == 1
		}
		return got[u.series("bilibili_followers")] >= began
	}
	f.during = f.scrapeUntil(time.Minute, func(got samples) bool {
		f.checkKept(got)
		return failed(got) && f.all(func(u *user) bool { return requested(got, u) })
	})
	for _, u := range f.users {
		if !requested(f.during, u) {
			f.T.Errorf("user %d has neither failed nor got a value since the fault began", u.wmid)
		}
	}
	f.page = f.get(http.DefaultClient, "/") + f.get(http.DefaultClient, "/?page=2")
	end()
	for _, u := range f.users {
		pause = max(pause, time.Duration(f.during[u.series("bilibili_user_interval_seconds")])*time.Second)
	}
	f.after = f.scrapeUntil(pause+10*time.Second, func(got samples) bool {
		return f.all(func(u *user) bool { return got[u.series("bilibili_up")] == 1 })
	})
	f.end()
}

// end stops the exporter, which completes the log, and checks that the token is not in the log.
func (f *faultTest) end() {
	f.T.Helper()
	if status, _ := f.End(syscall.SIGTERM); status != 0 {
		f.T.Errorf("the exporter exited with status %d", status)
	}
	if strings.Contains(f.Log(), justoneapitest.Token) {
		f.T.Error("the token is in the log")
	}
}

// checkKept checks that failing users keep their counts, if they have any.
func (f *faultTest) checkKept(got samples) {
	f.T.Helper()
	for _, u := range f.users {
		followers, following := got[u.series("bilibili_followers")], got[u.series("bilibili_following")]
		want := float64(u.latest.Load())
		if got[u.lastError()] == 1 && (followers != want || following != want) {
			f.T.Errorf("user %d fails with code %s, and has %f followers and %f following, want %f",
				u.wmid, u.fault.Code, followers, following, want)
		}
	}
}

// check checks the samples, the status page and the log for a user after a fault.
func (f *faultTest) check(t *testing.T, u *user) {
	t.Helper()
	kind := exportertest.Explain(u.fault.Code)
	if f.during[u.series("bilibili_up")] != 0 || f.during[u.lastError()] != 1 {
		t.Errorf("user %d did not fail with code %s", u.wmid, u.fault.Code)
	}
	_, failing := f.after[u.lastError()]
	followers := u.series("bilibili_followers")
	if f.after[u.series("bilibili_up")] != 1 || failing || f.after[followers] <= f.during[followers] {
		t.Errorf("user %d has not recovered from code %s", u.wmid, u.fault.Code)
	}
	if !slices.ContainsFunc(strings.Split(f.page, "</tr>"), func(row string) bool {
		return strings.Contains(row, fmt.Sprintf(">%d</td>", u.wmid)) &&
			strings.Contains(row, u.fault.Code+": "+html.EscapeString(kind.Meaning))
	}) {
		t.Errorf("the status page lacks user %d, or the meaning of code %s", u.wmid, u.fault.Code)
	}
	// Advice that users share stands once, above the table.
	if !strings.Contains(f.page, html.EscapeString((advice.Advice{Token: advice.TokenConfig}).For(kind))) {
		t.Errorf("the status page lacks the advice of code %s", u.fault.Code)
	}
	warnings := 1
	if kind.Scope == justoneapi.ScopeAccount {
		warnings = 0 // the log reports the pause
	}
	name := fmt.Sprintf("wmid=%d name=n%d ", u.wmid, u.wmid)
	f.checkLog(t, warnings, "level=warn", name)
	f.checkLog(t, warnings, "level=warn", name, `msg="Error fetching user"`, " code="+u.fault.Code+" ", kind.Meaning,
		" billed=", " advice=", " next_request=20")
	f.checkLog(t, warnings, "level=info", name, `msg="User recovered"`, " last_code="+u.fault.Code)
}

// checkLog checks the number of log lines that contain all the texts.
func (f *faultTest) checkLog(t *testing.T, want int, texts ...string) {
	t.Helper()
	var got int
	for line := range strings.Lines(f.Log()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			got++
		}
	}
	if got > want || got < want && !f.logLimited {
		t.Errorf("got %d log lines with %q, want %d", got, texts, want)
	}
}

// concernsAccount reports whether a fault is a refusal of the account.
func concernsAccount(fault justoneapitest.Fault) bool {
	return exportertest.Explain(fault.Code).Scope == justoneapi.ScopeAccount
}

// TestResponseFaults puts exporters through all wrong responses. Faults that last until the timeout have an exporter of
// their own: there are too few of them for five failures in a row, which would pause all requests. The others have one
// slot, so that the users keep their order, in which a user that succeeds follows each fault. The test runs alone,
// because some responses are large, and would be timeouts on a busy machine.
func TestResponseFaults(t *testing.T) {
	var fast, slow []justoneapitest.Fault
	for _, fault := range justoneapitest.Faults() {
		switch {
		case concernsAccount(fault):
		case fault.Slow:
			slow = append(slow, fault)
		default:
			fast = append(fast, fault)
		}
	}
	t.Run("fast", func(t *testing.T) {
		t.Parallel()
		testResponseFaults(t, fast, 1)
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		testResponseFaults(t, slow, 16)
	})
}

// testResponseFaults puts one exporter through faults, each for a user with a value and for one without. They must not
// affect other users.
func testResponseFaults(t *testing.T, faults []justoneapitest.Fault, slots int) {
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	var users, affected []*user
	for i, fault := range faults {
		n := int64(i)
		known := &user{wmid: 1000 + n, fault: fault}
		fresh := &user{wmid: 2000 + n, fault: fault, fresh: true}
		affected = append(affected, known, fresh)
		users = append(users, known, fresh, &user{wmid: 3000 + n})
	}
	for _, u := range users {
		api.Set(u.wmid, u.succeed)
		if u.fresh {
			api.Set(u.wmid, u.fail)
		}
	}
	apiKeys := fmt.Sprintf("base_url: '%s', max_concurrency: %d", api.URL, slots)
	test := newFaultTest(t, startInMemory, apiKeys, users...)
	test.logLimited = true
	test.run(func() {
		for _, u := range affected {
			api.Set(u.wmid, u.fail)
		}
	}, func(samples) bool {
		return !slices.ContainsFunc(affected, func(u *user) bool { return u.failures.Load() < 2 })
	}, func() {
		for _, u := range affected {
			api.Set(u.wmid, u.succeed)
		}
	}, 0)
	want := make(map[string]int)
	for pair := range slices.Chunk(affected, 2) {
		t.Run(pair[0].fault.Name, func(t *testing.T) {
			test.check(t, pair[0])
			test.check(t, pair[1])
		})
		want[pair[0].fault.Code] += int(pair[0].failures.Load() + pair[1].failures.Load())
	}
	if got := test.after.failures(); !maps.Equal(got, want) {
		t.Errorf("upstream_error_code counts %v, want %v", got, want)
	}
	test.checkLogTotal(2 * len(affected))
}

// checkLogTotal checks the number of failures and recoveries in the log, including those that it only counts.
func (f *faultTest) checkLogTotal(want int) {
	f.T.Helper()
	got := strings.Count(f.Log(), `msg="Error fetching user"`)
	got += strings.Count(f.Log(), `msg="User recovered"`)
	for _, left := range regexp.MustCompile(`suppressed=(\d+)`).FindAllStringSubmatch(f.Log(), -1) {
		n, err := strconv.Atoi(left[1])
		if err != nil {
			f.T.Fatal(err)
		}
		got += n
	}
	if got != want {
		f.T.Errorf("the log contains %d failures and recoveries, want %d", got, want)
	}
}

// testAccountFault refuses the account until the exporter gets a new token. A rate limit passes by itself.
func testAccountFault(t *testing.T, fault justoneapitest.Fault) {
	u, kind := &user{wmid: 1000, fault: fault}, exportertest.Explain(fault.Code)
	api, newAPI := justoneapitest.NewAPI(), justoneapitest.NewAPI() // newAPI responds to the new token
	api.SetAll(u.succeed)
	newAPI.SetAll(u.succeed)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := strings.Replace(r.URL.RawQuery, newToken, justoneapitest.Token, 1)
		if query == r.URL.RawQuery {
			api.ServeHTTP(w, r)
			return
		}
		r.URL.RawQuery = query
		newAPI.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	test := newFaultTest(t, exportertest.StartExporter, "base_url: '"+server.URL+"'", u)
	end, pause := test.rotateToken, time.Duration(0)
	if kind.Reason == justoneapi.ReasonRateLimit {
		end, pause = func() { api.SetAll(u.succeed) }, 30*time.Second
	}
	paused := fmt.Sprintf(`bilibili_api_paused{reason="%s"}`, kind.Reason)
	test.run(func() { api.SetAll(u.fail) }, func(got samples) bool { return got[paused] == 1 }, end, pause)
	test.check(t, u)
	explained := justoneapi.ExplainReason(kind.Reason) // a plain 429 means the same as code 302
	text := html.EscapeString("Requests are paused: " + explained.Meaning + " (" + explained.Code + ").")
	if !strings.Contains(test.page, text) {
		t.Errorf("the status page lacks %q", text)
	}
	if test.during[paused] != 1 || test.after[paused] != 0 {
		t.Errorf("%s is %v during and %v after the fault", paused, test.during[paused], test.after[paused])
	}
	got, want := test.after.failures(), map[string]int{fault.Code: 1}
	if !maps.Equal(got, want) || u.failures.Load() != 1 {
		t.Errorf("upstream_error_code counts %v, and the API has refused %d requests, want 1", got, u.failures.Load())
	}
	test.checkLog(t, 1, `msg="Requests paused"`)
	test.checkLog(t, 1, "level=warn", `msg="Requests paused"`, " reason="+string(kind.Reason), kind.Meaning,
		" advice=", " next_probe=20")
	test.checkLog(t, 1, "level=info", `msg="Resuming API requests`)
}

// rotateToken gives the exporter the new token.
func (f *faultTest) rotateToken() {
	f.T.Helper()
	exportertest.Replace(f.T, f.file, justoneapitest.Token, newToken)
	f.Signal(syscall.SIGHUP)
	f.Await(`msg="(Configuration reloaded)"`)
}

// runNetworkFault runs a fault in which no request reaches the API, until every user has failed twice.
func (f *faultTest) runNetworkFault(api *justoneapitest.Server, start, end func()) {
	f.T.Helper()
	code := f.users[0].fault.Code
	f.run(start, func(got samples) bool { return got.failures()[code] >= 2*len(f.users) }, end, 0)
	for _, u := range f.users {
		f.check(f.T, u)
	}
	want := map[string]int{code: int(f.after["bilibili_api_requests_total"]) - api.Total().Requests}
	if got := f.after.failures(); !maps.Equal(got, want) {
		f.T.Errorf("upstream_error_code counts %v, want %v, the requests that the API has not received", got, want)
	}
}

// newNetworkAPI returns an API, its address, and a user that a network fault with the code affects. With more users,
// the failures would pause all requests.
func newNetworkAPI(t *testing.T, code string) (*justoneapitest.Server, string, []*user) {
	t.Helper()
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	u := &user{wmid: 1000, fault: justoneapitest.Fault{Code: code}}
	api.Set(u.wmid, u.succeed)
	return api, strings.TrimPrefix(api.URL, "http://"), []*user{u}
}

// testNameResolution removes the API's host name. The exporter runs in its own mount namespace, with its own hosts file
// and without a name server.
func testNameResolution(t *testing.T) {
	t.Parallel()
	hosts := exportertest.WriteFile(t, "hosts", "")
	resolver := exportertest.WriteFile(t, "resolv.conf", "nameserver 127.0.0.1\n")
	writeHosts := func(name string) {
		if err := os.WriteFile(hosts, []byte("127.0.0.1 "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeHosts("justoneapi.invalid")
	api, address, users := newNetworkAPI(t, justoneapi.CodeNetwork)
	start := func(t *testing.T, args ...string) (*exportertest.Process, string) {
		cmd := exportertest.Command(append(args, "--web.listen-address=127.0.0.1:0", "--storage.path="+t.TempDir())...)
		script := `mount --bind "` + hosts + `" /etc/hosts && mount --bind "` + resolver + `" /etc/resolv.conf && ` +
			`exec "$0" "$@"`
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", script}, cmd.Args...)
		cmd.Env = append(cmd.Env, "GODEBUG=netdns=go") // as in the released binary
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		p := exportertest.Start(t, cmd)
		return p, p.Address()
	}
	url := "http://" + strings.Replace(address, "127.0.0.1", "justoneapi.invalid", 1)
	test := newFaultTest(t, start, "base_url: '"+url+"', http_client: {proxy_from_environment: false}", users...)
	test.runNetworkFault(api, func() { writeHosts("localhost") }, func() { writeHosts("justoneapi.invalid") })
}

// connHandler handles a connection to a forwarder, which forwards to an address.
type connHandler func(conn net.Conn, to string)

// forward forwards a connection.
func forward(conn net.Conn, to string) {
	defer conn.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	go func() {
		io.Copy(server, conn) //nolint:errcheck // either side may disconnect
		server.Close()
	}()
	io.Copy(conn, server) //nolint:errcheck // see above
}

// terminateTLS forwards a connection without its TLS.
func terminateTLS(certificate tls.Certificate) connHandler {
	return func(conn net.Conn, to string) {
		forward(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}), to)
	}
}

// proxy responds to a CONNECT request, and calls next.
func proxy(status string, next connHandler) connHandler {
	return func(conn net.Conn, to string) {
		http.ReadRequest(bufio.NewReader(conn)) //nolint:errcheck // the response is the same
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", status)
		next(conn, to)
	}
}

// closeConn closes a connection.
func closeConn(conn net.Conn, _ string) { conn.Close() }

// ignore never responds.
func ignore(conn net.Conn, _ string) {
	io.Copy(io.Discard, conn) //nolint:errcheck // the client disconnects
	conn.Close()
}

// greet writes before the client does.
func greet(conn net.Conn, to string) {
	fmt.Fprintf(conn, "220 hello, token=%s\r\n", justoneapitest.Token)
	ignore(conn, to)
}

// forwarder listens at an address and handles connections on their way to another one.
type forwarder struct {
	t           *testing.T
	address, to string
	handler     atomic.Pointer[connHandler]
	listener    net.Listener // nil while nothing is listening
}

// newForwarder returns a forwarder that is not listening yet. Its address is reserved by a socket that never listens.
func newForwarder(t *testing.T, to string) *forwarder {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) }) //nolint:errcheck // it is not used
	err = errors.Join(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, nameErr := syscall.Getsockname(socket)
	if err := errors.Join(err, nameErr); err != nil {
		t.Fatal(err)
	}
	f := &forwarder{t: t, address: fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), to: to}
	t.Cleanup(func() { f.handle(nil) })
	return f
}

// handle sets the handler of connections. With nil, nothing is listening.
func (f *forwarder) handle(handler connHandler) {
	f.t.Helper()
	f.handler.Store(&handler)
	switch {
	case handler == nil && f.listener != nil:
		f.listener.Close()
		f.listener = nil
	case handler != nil && f.listener == nil:
		listener, err := net.Listen("tcp", f.address)
		if err != nil {
			f.t.Fatal(err)
		}
		f.listener = listener
		go f.serve(listener)
	}
}

func (f *forwarder) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if handler := *f.handler.Load(); handler != nil {
			go handler(conn, f.to)
		} else {
			conn.Close()
		}
	}
}

// certificates are certificates of servers. All but the unknown one are in the file of trusted certificates.
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
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, host)}, NotAfter: time.Now().Add(end),
		}
		certificate, err := x509.CreateCertificate(nil, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(to, &pem.Block{Type: "CERTIFICATE", Bytes: certificate}) //nolint:errcheck // it does not fail
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

// networkFault is a fault on the way to the API.
type networkFault struct {
	way     string // http, https or proxy
	code    string
	handler connHandler
}

func networkFaults(c *certificates) map[string]networkFault {
	const network, timeout = justoneapi.CodeNetwork, justoneapi.CodeTimeout
	return map[string]networkFault{
		"connection refused":           {"http", network, nil},
		"connection closed at once":    {"http", network, closeConn},
		"no response":                  {"http", timeout, ignore},
		"response before the request":  {"http", network, greet},
		"no TLS handshake":             {"https", timeout, ignore},
		"plain HTTP instead of TLS":    {"https", network, forward},
		"untrusted certificate":        {"https", network, terminateTLS(c.unknown)},
		"certificate for another name": {"https", network, terminateTLS(c.misnamed)},
		"expired certificate":          {"https", network, terminateTLS(c.expired)},
		"proxy down":                   {"proxy", network, nil},
		"proxy that hangs":             {"proxy", timeout, ignore},
		"proxy without a connection":   {"proxy", network, proxy("502 Bad Gateway", closeConn)},
		"proxy that wants a password":  {"proxy", network, proxy("407 Proxy Authentication Required", closeConn)},
	}
}

func testNetworkFault(t *testing.T, fault networkFault, c *certificates) {
	api, address, users := newNetworkAPI(t, fault.code)
	f := newForwarder(t, address)
	var working connHandler
	var apiKeys string
	switch fault.way {
	case "http":
		working, apiKeys = forward, "base_url: 'http://"+f.address+"'"
	case "https":
		working = terminateTLS(c.good)
		apiKeys = "base_url: 'https://" + f.address + "', http_client: {tls_config: {ca_file: " + c.file + "}}"
	case "proxy":
		server := newForwarder(t, address)
		server.handle(terminateTLS(c.good))
		f.to, working = server.address, proxy("200 OK", forward)
		apiKeys = "base_url: 'https://" + server.address + "', " +
			"http_client: {tls_config: {ca_file: " + c.file + "}, proxy_url: 'http://" + f.address + "'}"
	}
	f.handle(working)
	test := newFaultTest(t, exportertest.StartExporter, apiKeys, users...)
	test.runNetworkFault(api, func() { f.handle(fault.handler) }, func() { f.handle(working) })
}
