package justoneapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// Path is the path of the endpoint of users below the base URL.
	Path = "/api/bilibili/get-user-relation-stat/v1"
	// BalancePath is the path of the endpoint of the account's balance.
	BalancePath = "/user/get-balance"

	maxBody = 1 << 20 // bytes of a response that are read
)

// Client sends requests to the API. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	transport http.RoundTripper
}

// New returns a client for the API at the base URL, for example https://api.justoneapi.com.
//
// The client calls transport directly, without an [http.Client], so redirects are not followed (a redirected request
// would carry the token in its Referer header), and the URL is not added to errors. The transport must not use
// HTTP/2, because its client may send a request again.
func New(base *url.URL, transport http.RoundTripper) *Client {
	return &Client{base: base, transport: transport}
}

// RelationStat requests the statistics of the user wmid. It sends at most one request.
//
// It waits for the response until ctx ends. The vendor recommends at least 60 s, since a request that is canceled
// can still be billed. A returned error is an [*Error].
func (c *Client) RelationStat(ctx context.Context, token Token, wmid int64) (Stat, error) {
	query := url.Values{"wmid": {strconv.FormatInt(wmid, 10)}}
	return request(ctx, c, token, Path, query, func(r response) (Stat, *Error) { return decode(r.status, r.body, wmid) })
}

// Balance requests the balance of the account. It sends at most one request. A returned error is an [*Error].
func (c *Client) Balance(ctx context.Context, token Token) (Balance, error) {
	return request(ctx, c, token, BalancePath, url.Values{}, func(r response) (Balance, *Error) {
		return decodeBalance(r.status, r.body)
	})
}

// request sends a request and decodes the response.
func request[T any](ctx context.Context, c *Client, token Token, path string, query url.Values,
	decode func(response) (T, *Error)) (value T, err error) {
	var none T
	defer func() {
		if p := recover(); p != nil { // a response must not crash the process, and the panic could print the URL
			value, err = none, (&Error{Kind: kindMalformed, Detail: fmt.Sprint("panic: ", p)}).scrub(token)
		}
	}()
	progress := progress{sendBy: sendBy(ctx)}
	query.Set("token", token.reveal())
	r, err := c.get(httptrace.WithClientTrace(ctx, progress.trace()), path, query)
	if err != nil {
		return none, progress.failure(err).scrub(token)
	}
	value, failure := decode(r)
	if failure != nil {
		return none, failure.withRetryAfter(r.header).scrub(token)
	}
	return value, nil
}

// response is what was read of an HTTP response.
type response struct {
	status int
	header http.Header
	body   []byte // at most one byte more than maxBody
}

// get sends a request and reads the response.
func (c *Client) get(ctx context.Context, path string, query url.Values) (response, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), sendOnce{})
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	r := response{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return r, nil // reading its body would never end, not even with ctx
	}
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		return response{}, fmt.Errorf("reading the response: %w", err)
	}
	return r, nil
}

// sendOnce is an empty request body. [http.Transport] sends a GET again when a reused connection was closed under it,
// but not if the request has a body that cannot be rewound, even an empty one.
type sendOnce struct{}

func (sendOnce) Read([]byte) (int, error) { return 0, io.EOF }

type sendByKey struct{}

// WithSendBy returns a context for a request that must not be sent after a moment, by the clock that reaches it first
// ([Elapsed]), whenever it has a connection. The failure of one that would be later is certainly not billed.
func WithSendBy(ctx context.Context, moment time.Time) context.Context {
	return context.WithValue(ctx, sendByKey{}, moment)
}

func sendBy(ctx context.Context) time.Time {
	moment, _ := ctx.Value(sendByKey{}).(time.Time)
	return moment
}

// Elapsed returns the time since start, by the clock that shows more of it: the monotonic clock stops while the machine
// is suspended, and the wall clock can be set back.
func Elapsed(start time.Time) time.Duration {
	return max(time.Since(start), time.Since(start.Round(0)))
}

// progress records how far a request got.
type progress struct {
	sendBy                time.Time // zero for no limit
	connecting, connected atomic.Bool

	// peer is the address that was connected to. If connecting fails while idle, outside of a TLS handshake, the peer is
	// a proxy that does not connect to the API.
	peer atomic.Pointer[string]
	idle atomic.Bool
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.connecting.Store(true) },
		ConnectDone: func(_, address string, err error) {
			if err == nil {
				p.peer.Store(&address)
				p.idle.Store(true)
			}
		},
		TLSHandshakeStart: func() { p.idle.Store(false) },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { p.idle.Store(err == nil) },
		GotConn:           p.gotConn,
	}
}

// gotConn is called right before the request is written to a connection. Without the connection, it cannot be.
func (p *progress) gotConn(info httptrace.GotConnInfo) {
	p.idle.Store(false)
	if !p.sendBy.IsZero() && Elapsed(p.sendBy) > 0 {
		info.Conn.Close()
		return
	}
	p.connected.Store(true)
}

// failure returns the error for a request without a response. The request is certainly not billed only if connecting
// failed, be it to the server or the proxy, or during the TLS handshake, because then no request was written.
func (p *progress) failure(err error) *Error {
	kind := kindNetwork
	if isTimeout(err) {
		kind = kindTimeout
	}
	if p.connecting.Load() && !p.connected.Load() {
		kind.Billing = NotBilled
	}
	return &Error{Kind: kind, Detail: p.explain(withoutURL(err))}
}

// explain returns the text of an error. Those of a proxy that refuses are hardly more than "Forbidden".
func (p *progress) explain(err error) string {
	peer := p.peer.Load()
	switch {
	case peer == nil || !p.idle.Load():
		return err.Error()
	case isTimeout(err):
		return fmt.Sprintf("proxy %s did not connect to the API in time: %v", *peer, err)
	default:
		return fmt.Sprintf("proxy %s refused to connect to the API: %v", *peer, err)
	}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
}

// withoutURL unwraps every [url.Error], because it prints the whole URL.
func withoutURL(err error) error {
	var urlErr *url.Error
	for errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return err
}
