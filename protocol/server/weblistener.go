package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// webListener counts connections as they come, before TLS and HTTP, and finds
// out who the clients of balancers are.
type webListener struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil: in clear
	// serving ends when nothing is accepted any more.
	serving context.Context
	ready   chan net.Conn
	done    chan struct{} // closed when nothing is accepted any more
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
	w := newWebConn(c, remote, a, began, l.tls != nil)
	if l.tls == nil {
		l.handOver(w)
	} else if !s.aside(func() { l.handshake(w, counted) }) {
		_ = w.Close()
	}
}

// handshake hands a connection over to HTTP once TLS is begun on it.
func (l *webListener) handshake(w *webConn, counted netip.AddrPort) {
	w.turns.turn = l.server.newHandshakeTurn(counted)
	secured := tls.Server(w, l.tls)
	_ = w.SetDeadline(time.Now().Add(handshakeTime))
	err := secured.HandshakeContext(l.serving)
	w.turns.finish()
	if err != nil {
		l.server.metrics.Handshakes.Add(1)
		_ = w.Close()
		return
	}
	_ = w.SetDeadline(time.Time{})
	l.handOver(secured)
}

// handOver gives HTTP a connection, or closes it if nothing is accepted any more.
func (l *webListener) handOver(c net.Conn) {
	select {
	case l.ready <- c:
	case <-l.done:
		_ = c.Close()
	}
}
