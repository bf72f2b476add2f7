//go:build replicas

package e2e

import (
	"net"
	"sync"
	"testing"
)

// dbProxy forwards connections from one exporter to the database, and disturbs them.
type dbProxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex // protects the following fields
	conns   map[net.Conn]bool
	blocked chan struct{}    // closed when data passes again; nil while it passes
	filter  func(chunk) bool // sees all data before it is forwarded; true removes the filter; nil for none
}

// chunk is a piece of data that was sent.
type chunk struct {
	fromServer bool
	data       string
}

// startProxy starts a proxy for an address. It ends with the test.
func startProxy(t *testing.T, target string) *dbProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &dbProxy{listener: listener, target: target, conns: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.block(false)
		p.cut()
		running.Wait()
	})
	return p
}

// port returns the port of the proxy.
func (p *dbProxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// serve forwards a connection in both directions until one of them ends.
func (p *dbProxy) serve(client net.Conn) {
	p.track(client)
	p.pass()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		p.reset(client)
		return
	}
	p.track(server)
	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(server, client, false) })
	pumps.Go(func() { p.pump(client, server, true) })
	pumps.Wait()
}

// pump forwards data in one direction, and closes both connections at its end.
func (p *dbProxy) pump(to, from net.Conn, fromServer bool) {
	defer p.reset(to)
	defer p.reset(from)
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		p.pass()
		p.inspect(chunk{fromServer, string(buffer[:n])})
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// inspect passes data to the filter.
func (p *dbProxy) inspect(c chunk) {
	p.mu.Lock()
	filter := p.filter
	p.mu.Unlock()
	if filter != nil && filter(c) {
		p.setFilter(nil)
	}
}

// setFilter sets a function that sees all data before it is forwarded.
func (p *dbProxy) setFilter(filter func(chunk) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filter = filter
}

// pass waits while the proxy blocks.
func (p *dbProxy) pass() {
	p.mu.Lock()
	blocked := p.blocked
	p.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
}

// block makes the proxy keep all data to itself, as a network does that loses all packets, until it is unblocked.
func (p *dbProxy) block(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.blocked == nil:
		p.blocked = make(chan struct{})
	case !on && p.blocked != nil:
		close(p.blocked)
		p.blocked = nil
	}
}

// cut resets all connections.
func (p *dbProxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		reset(conn)
	}
	clear(p.conns)
}

func (p *dbProxy) track(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
}

func (p *dbProxy) reset(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reset(conn)
	delete(p.conns, conn)
}

// reset closes a connection so that the other end sees an error.
func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is closed next
	conn.Close()
}
