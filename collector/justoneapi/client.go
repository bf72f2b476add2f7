package justoneapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
)

const (
	// Path is the path of the endpoint below the base URL.
	Path = "/api/bilibili/get-user-relation-stat/v1"

	maxBody = 1 << 20 // bytes of an answer that are read
)

// Client calls the API. It is safe for concurrent use.
type Client struct {
	endpoint  *url.URL
	transport http.RoundTripper
}

// New returns a client for the API at base, https://api.justoneapi.com for
// example.
//
// The client uses transport as it is, without an [http.Client] around it:
// redirects are therefore not followed (one would carry the token in the
// header Referer) and nothing adds the URL to an error. The transport must not
// speak HTTP/2, whose client repeats requests by rules of its own.
func New(base *url.URL, transport http.RoundTripper) *Client {
	return &Client{endpoint: base.JoinPath(Path), transport: transport}
}

// RelationStat asks for the statistics of the user wmid, in one request.
//
// It waits as long as ctx allows; the vendor asks for at least 60 s, since an
// answer that was not waited for can be billed all the same. The error, if
// there is one, is an [*Error].
func (c *Client) RelationStat(ctx context.Context, token Token, wmid int64) (stat Stat, err error) {
	defer func() {
		if p := recover(); p != nil { // an answer must not end the process, and its trace could show the URL
			stat, err = Stat{}, (&Error{Kind: kindMalformed, Detail: fmt.Sprint("panic: ", p)}).scrub(token)
		}
	}()
	var progress progress
	status, body, err := c.get(httptrace.WithClientTrace(ctx, progress.trace()), token, wmid)
	if err != nil {
		return Stat{}, progress.failure(err).scrub(token)
	}
	stat, failure := decode(status, body, wmid)
	if failure != nil {
		return Stat{}, failure.scrub(token)
	}
	return stat, nil
}

// get sends the request and returns the status and the body of the answer.
func (c *Client) get(ctx context.Context, token Token, wmid int64) (int, []byte, error) {
	target := *c.endpoint
	target.RawQuery = url.Values{
		"token": {token.reveal()},
		"wmid":  {strconv.FormatInt(wmid, 10)},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), sendOnce{})
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, nil, nil // its body has no end, and does not heed ctx
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return resp.StatusCode, body, nil
}

// sendOnce is an empty request body. [http.Transport] repeats a GET whose kept
// connection was cut, unless the request has a body that it cannot get again;
// with this one it finds nothing to send and nothing to repeat.
type sendOnce struct{}

func (sendOnce) Read([]byte) (int, error) { return 0, io.EOF }

// progress records how far a request got.
type progress struct {
	sought, connected atomic.Bool
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.sought.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	}
}

// failure returns the error for a call that got no answer. It is certain not
// to be billed only if a connection was sought and none was found, TLS and
// proxy included: then no request was written.
func (p *progress) failure(err error) *Error {
	kind := kindNetwork
	if isTimeout(err) {
		kind = kindTimeout
	}
	if p.sought.Load() && !p.connected.Load() {
		kind.Billing = NotBilled
	}
	return &Error{Kind: kind, Detail: withoutURL(err).Error()}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
}

// withoutURL takes every [url.Error] off err: they print the whole URL.
func withoutURL(err error) error {
	var urlErr *url.Error
	for errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return err
}
