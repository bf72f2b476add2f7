package justoneapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wmid = 3546564939877816 // 16 digits, as in use

// newClient returns a client of server whose connections end with the test.
func newClient(t *testing.T, server *justoneapitest.Server) *justoneapi.Client {
	t.Helper()
	transport := server.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return justoneapi.New(mustParse(t, server.URL), transport)
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newServer(t *testing.T) *justoneapitest.Server {
	t.Helper()
	server := justoneapitest.NewServer()
	t.Cleanup(server.Close)
	return server
}

var token = justoneapi.NewToken(justoneapitest.Token)

func TestRelationStat(t *testing.T) {
	server := newServer(t)
	server.Set(wmid, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
	got, err := newClient(t, server).RelationStat(t.Context(), token, wmid)
	if err != nil {
		t.Fatal(err)
	}
	if want := (justoneapi.Stat{Followers: 4153991, Following: 11}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := server.Tally(wmid), (justoneapitest.Tally{Requests: 1, Billed: 1}); got != want {
		t.Errorf("tally: got %+v, want %+v", got, want)
	}
}

// TestRelationStatFaults drives every failure that the stand-in knows: each has
// its code, is one request on the wire, is billed as the stand-in bills it, and
// does not show the token.
func TestRelationStatFaults(t *testing.T) {
	for _, fault := range justoneapitest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			server.SetAll(fault.Answer)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if fault.Slow {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			_, err := newClient(t, server).RelationStat(ctx, token, wmid)
			var failure *justoneapi.Error
			if !errors.As(err, &failure) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if failure.Code != fault.Code {
				t.Errorf("got code %q, want %q (%v)", failure.Code, fault.Code, err)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, failure, *failure); strings.Contains(text, justoneapitest.Token) {
				t.Errorf("the error shows the token: %s", text)
			}
			tally := server.Tally(wmid)
			if tally.Requests != 1 {
				t.Errorf("got %d requests on the wire, want 1", tally.Requests)
			}
			if billed := tally.Billed == 1; billed && failure.Billing == justoneapi.NotBilled || !billed && failure.Billing == justoneapi.Billed {
				t.Errorf("got billing %q, but the stand-in billed %d", failure.Billing, tally.Billed)
			}
		})
	}
}

func TestRelationStatKinds(t *testing.T) {
	const (
		call, user, account    = justoneapi.ScopeUpstream, justoneapi.ScopeUser, justoneapi.ScopeAccount
		unknown, free, expense = justoneapi.BillingUnknown, justoneapi.NotBilled, justoneapi.Billed
	)
	code := func(n int) justoneapitest.Response { return justoneapitest.Code(n, "") }
	nested := func(n int) justoneapitest.Response { return justoneapitest.BilibiliCode(n, "") }
	tests := []struct {
		name    string
		answer  justoneapitest.Response
		scope   justoneapi.Scope
		reason  justoneapi.Reason
		billing justoneapi.Billing
	}{
		{"100", code(100), account, "token", free},
		{"101", code(101), call, "", unknown},
		{"201", code(201), user, "", expense},
		{"202", code(202), call, "", unknown},
		{"300", code(300), call, "", unknown},
		{"301", code(301), call, "", free},
		{"302", code(302), account, "rate_limit", free},
		{"303", code(303), account, "daily_quota", free},
		{"400", code(400), user, "", free},
		{"404", code(404), user, "", unknown},
		{"500", code(500), call, "", free},
		{"503", code(503), call, "", unknown},
		{"600", code(600), account, "permission", free},
		{"601", code(601), account, "balance", free},
		{"602", code(602), account, "token_limit", free},
		{"777", code(777), call, "", unknown},
		{"-1", code(-1), call, "", unknown},
		{"-400", nested(-400), user, "", expense},
		{"-404", nested(-404), user, "", expense},
		{"-412", nested(-412), call, "", expense},
		{"-352", nested(-352), call, "", expense},
		{"-799", nested(-799), call, "", expense},
		{"22115", nested(22115), user, "", expense},
		{"301", nested(301), user, "", expense}, // Bilibili's 301 is not the API's
		{"mismatch", justoneapitest.OtherUser(1), user, "", expense},
		{"http_502", justoneapitest.Body(502, "text/html", "Bad Gateway"), call, "", unknown},
		{"malformed", justoneapitest.Body(200, "text/html", "Welcome"), call, "", unknown},
		{"malformed", justoneapitest.Data(`{}`), call, "", expense},
		{"network", justoneapitest.CutBefore(), call, "", unknown},
	}
	server := newServer(t)
	client := newClient(t, server)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server.SetAll(test.answer)
			_, err := client.RelationStat(t.Context(), token, wmid)
			var got *justoneapi.Error
			if !errors.As(err, &got) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if got.Code != test.name || got.Scope != test.scope || got.Reason != test.reason || got.Billing != test.billing {
				t.Errorf("got %+v, want code %s, scope %d, reason %q, billing %s", got.Kind, test.name, test.scope, test.reason, test.billing)
			}
			if got.Meaning == "" {
				t.Error("the code is not explained")
			}
		})
	}
}

// TestRelationStatOnce cuts a kept connection under a second call, which
// net/http would repeat by itself.
func TestRelationStatOnce(t *testing.T) {
	server := newServer(t)
	server.SetAll(justoneapitest.CutReused(justoneapitest.Stat(justoneapitest.Constant(1), 1)))
	client := newClient(t, server)
	if _, err := client.RelationStat(t.Context(), token, wmid); err != nil {
		t.Fatal(err)
	}
	_, err := client.RelationStat(t.Context(), token, wmid)
	var failure *justoneapi.Error
	if !errors.As(err, &failure) || failure.Code != "network" || failure.Billing != justoneapi.BillingUnknown {
		t.Errorf("got %v, want code network, perhaps billed", err)
	}
	if got := server.Tally(wmid).Requests; got != 2 {
		t.Errorf("got %d requests on the wire for 2 calls", got)
	}
}

// TestTemptation shows that the test above can fail: a plain request is repeated.
func TestTemptation(t *testing.T) {
	server := newServer(t)
	server.SetAll(justoneapitest.CutReused(justoneapitest.Stat(justoneapitest.Constant(1), 1)))
	client := server.Transport()
	defer client.CloseIdleConnections()
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+justoneapi.Path+"?wmid=1&token="+justoneapitest.Token, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var body any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if got := server.Tally(1).Requests; got != 3 {
		t.Errorf("got %d requests on the wire for 2 plain requests, want net/http's 3", got)
	}
}

// TestRelationStatUnsent tells failures that no request was written for from
// those where one may have been.
func TestRelationStatUnsent(t *testing.T) {
	closed := justoneapitest.NewServer()
	closed.Close()
	plainBehindTLS := newServer(t)
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	refusingProxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer refusingProxy.Close()

	tests := []struct {
		name      string
		base      string
		transport *http.Transport
	}{
		{"connection refused", closed.URL, &http.Transport{}},
		{"no such host", "http://host.test", &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "host.test", IsNotFound: true}}
		}}},
		{"plain HTTP behind https", strings.Replace(plainBehindTLS.URL, "http", "https", 1), &http.Transport{}},
		{"untrusted certificate", untrusted.URL, &http.Transport{}},
		{"proxy refused", "http://host.invalid", &http.Transport{Proxy: http.ProxyURL(mustParse(t, closed.URL))}},
		{"proxy refuses to connect", "https://host.invalid", &http.Transport{Proxy: http.ProxyURL(mustParse(t, refusingProxy.URL))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer test.transport.CloseIdleConnections()
			_, err := justoneapi.New(mustParse(t, test.base), test.transport).RelationStat(t.Context(), token, wmid)
			var failure *justoneapi.Error
			if !errors.As(err, &failure) || failure.Code != "network" || failure.Billing != justoneapi.NotBilled {
				t.Errorf("got %v, want code network, not billed", err)
			}
			if strings.Contains(err.Error(), justoneapitest.Token) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRelationStatForeignTransport has a transport that does not tell how far
// it got, and whose errors hold URLs within URLs: nothing is certain of the
// bill, and no URL is shown.
func TestRelationStatForeignTransport(t *testing.T) {
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		inner := &url.Error{Op: "Get", URL: r.URL.String() + "&inner", Err: errors.New("went wrong")}
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: inner}
	})
	_, err := justoneapi.New(mustParse(t, "http://host.test"), transport).RelationStat(t.Context(), token, wmid)
	var failure *justoneapi.Error
	if !errors.As(err, &failure) || failure.Billing != justoneapi.BillingUnknown || failure.Detail != "went wrong" {
		t.Errorf("got %#v, want one that went wrong, perhaps billed", err)
	}
}

// TestRelationStatPanic has a transport that panics with the URL: that ends no
// process, and shows no token.
func TestRelationStatPanic(t *testing.T) {
	transport := roundTripper(func(r *http.Request) (*http.Response, error) { panic(r.URL.String()) })
	_, err := justoneapi.New(mustParse(t, "http://host.test"), transport).RelationStat(t.Context(), token, wmid)
	want := "malformed: response does not match the documented format: panic: http://host.test" + justoneapi.Path + "?token=<secret>&wmid=3546564939877816"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestRelationStatTimeout lets a call hang for the 60 s that the vendor asks for.
func TestRelationStatTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := justoneapitest.NewPipeServer()
		defer server.Close()
		server.SetAll(justoneapitest.Hang())
		transport := server.Transport()
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := justoneapi.New(mustParse(t, server.URL), transport).RelationStat(ctx, token, wmid)
		var failure *justoneapi.Error
		if !errors.As(err, &failure) || failure.Code != "timeout" || failure.Billing != justoneapi.BillingUnknown {
			t.Errorf("got %v, want code timeout, perhaps billed", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("took %v, want 1m", got)
		}
	})
}

// TestRelationStatRequest looks at the request itself.
func TestRelationStatRequest(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := justoneapi.New(mustParse(t, server.URL+"/prefix/"), transport)
	client.RelationStat(t.Context(), justoneapi.NewToken("a&b=c d"), wmid) //nolint:errcheck // the answer is empty
	if want := "/prefix/api/bilibili/get-user-relation-stat/v1?token=a%26b%3Dc+d&wmid=3546564939877816"; got.RequestURI != want {
		t.Errorf("got %s, want %s", got.RequestURI, want)
	}
	if got.Method != http.MethodGet || got.ContentLength != 0 || len(got.TransferEncoding) > 0 || got.Header.Get("Referer") != "" {
		t.Errorf("got %s, length %d, encoding %v, header %v; want a GET without body or Referer", got.Method, got.ContentLength, got.TransferEncoding, got.Header)
	}
}

func TestTokenPrintsAsSecret(t *testing.T) {
	holder := struct{ hidden justoneapi.Token }{token}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %p"} {
		for _, value := range []any{token, &token, holder, &holder, []any{token}, map[string]any{"t": holder}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, justoneapitest.Token) || strings.Contains(text, fmt.Sprintf("%x", justoneapitest.Token)) {
				t.Errorf("%s of %T shows the token: %s", verb, value, text)
			}
		}
	}
	if text, err := json.Marshal(token); err != nil || string(text) != `"\u003csecret\u003e"` {
		t.Errorf("as JSON: got %s, %v", text, err)
	}
}
