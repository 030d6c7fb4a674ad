package server

import (
	"net"
	"net/netip"
	"time"
)

// webListener counts connections as they come, before TLS and HTTP, and finds
// out who the clients of balancers are.
type webListener struct {
	net.Listener
	server *Server
	ready  chan net.Conn
	done   chan struct{} // closed when nothing is accepted any more
}

// Accept returns the next connection that is ready for TLS and HTTP.
func (l *webListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// acceptAll takes connections until the listener is closed.
func (l *webListener) acceptAll() error {
	defer close(l.done)
	for {
		c, err := l.server.accept(l.Listener)
		if err != nil {
			return err
		}
		l.server.metrics.Accepted.Add(1)
		if watchPeer(c) != nil {
			_ = c.Close() // it is gone
			continue
		}
		l.take(c)
	}
}

// take counts a connection. One of a proxy counts as nobody's until its
// client is known.
func (l *webListener) take(c net.Conn) {
	s, began, remote := l.server, time.Now(), addrPort(c.RemoteAddr())
	if !s.isBalancer(remote.Addr()) {
		l.admit(c, remote, began)
		return
	}
	s.takeProxied(c, s.isForwarder(remote.Addr()), func(c net.Conn, remote netip.AddrPort) { l.admit(c, remote, began) })
}

// admit hands a connection over to HTTP, or closes it: there is no telling it
// why before HTTP.
func (l *webListener) admit(c net.Conn, remote netip.AddrPort, began time.Time) {
	s := l.server
	counted := remote
	if s.isForwarder(remote.Addr()) {
		counted = netip.AddrPort{} // until the request names the client
	}
	a, refusal := s.admission.admit(counted)
	if refusal != "" {
		s.metrics.Turned.Add(1)
		_ = c.Close()
		return
	}
	w := newWebConn(c, remote, a, began, s.tls != nil)
	select {
	case l.ready <- w:
	case <-l.done:
		_ = w.Close()
	}
}
