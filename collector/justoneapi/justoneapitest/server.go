package justoneapitest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Server is an [API] with a listener.
type Server struct {
	*API
	URL string // base URL, without the path of the endpoint

	http     *http.Server
	listener net.Listener
	running  sync.WaitGroup // connections and the accepting loop
}

// NewServer returns a server on a free port of the loopback interface.
func NewServer() *Server {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic("justoneapitest: " + err.Error())
	}
	return serve(listener, "http://"+listener.Addr().String())
}

// NewPipeServer returns a server without a network. Only [Server.Transport] reaches it, through [net.Pipe]. It is for
// tests with a fake clock ([testing/synctest]), in which sockets cannot be used.
func NewPipeServer() *Server {
	return serve(&pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}, "http://justoneapi.test")
}

func serve(listener net.Listener, url string) *Server {
	s := &Server{API: NewAPI(), URL: url, listener: listener}
	s.http = &http.Server{
		Handler: s.API,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.running.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.running.Done()
			}
		},
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, requestsKey{}, new(atomic.Int64))
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.running.Go(func() { s.http.Serve(listener) }) //nolint:errcheck // it returns when closed
	return s
}

// Transport returns a new transport that connects to s, whatever the address.
func (s *Server) Transport() *http.Transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.listener.Addr().String())
	}
	if pipes, ok := s.listener.(*pipeListener); ok {
		dial = pipes.dial
	}
	return &http.Transport{DialContext: dial}
}

// Close closes all connections and waits for all goroutines.
func (s *Server) Close() {
	s.http.Close() //nolint:errcheck // nothing can be done about it
	s.running.Wait()
}

// requestsKey is the context key of the number of requests on a connection.
type requestsKey struct{}

// reused counts a request on its connection and reports whether it is not the first.
func reused(r *http.Request) bool {
	requests, ok := r.Context().Value(requestsKey{}).(*atomic.Int64)
	return ok && requests.Add(1) > 1
}

// pipeListener is a [net.Listener] for connections within the process.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
