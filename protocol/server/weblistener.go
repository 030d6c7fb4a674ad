package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"simpd/protocol/netaddr"
	"simpd/protocol/server/internal/netio"
)

// webListener counts connections before TLS and HTTP, and identifies the
// clients of balancers.
type webListener struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil: in clear
	// serving ends when nothing is accepted any more.
	serving context.Context
	ready   chan net.Conn
	done    chan struct{} // closed when accepting has ended
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

// acceptAll accepts connections until the listener is closed.
func (l *webListener) acceptAll() error {
	defer close(l.done)
	for {
		c, err := netio.AcceptRetrying(l.Listener, l.server.backoffAccept)
		if l.server.isStopped() && err != nil {
			return ErrClosed
		}
		if err != nil {
			return err
		}
		l.server.metrics.Accepted.Add(1)
		if netio.SetKeepalive(c) != nil {
			_ = c.Close() // it is gone
			continue
		}
		l.acceptConn(c)
	}
}

// acceptConn counts a connection. A proxy's connection counts for nobody
// until its client is known.
func (l *webListener) acceptConn(c net.Conn) {
	s, began, remote := l.server, time.Now(), netio.AddrPort(c.RemoteAddr())
	if !s.isBalancer(remote.Addr()) {
		l.admitConn(c, remote, began)
		return
	}
	s.acceptProxied(c, s.isForwarder(remote.Addr()), func(c net.Conn, remote netip.AddrPort) { l.admitConn(c, remote, began) })
}

// admitConn passes a connection to HTTP, or closes it without a reason, which
// can't be sent before HTTP.
func (l *webListener) admitConn(c net.Conn, remote netip.AddrPort, began time.Time) {
	s := l.server
	counted := remote
	if s.isForwarder(remote.Addr()) {
		counted = netip.AddrPort{} // until the request names the client
	}
	a, refusal := s.connLimiter.acquire(counted)
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		_ = c.Close()
		return
	}
	w := newWebConn(c, remote, a, began, l.tls != nil)
	if l.tls == nil {
		l.enqueue(w)
	} else if !s.goTracked(func() { l.handshake(w, counted) }) {
		_ = w.Close()
	}
}

// handshake performs the TLS handshake and passes the connection to HTTP.
func (l *webListener) handshake(w *webConn, counted netip.AddrPort) {
	ctx, cancel := context.WithTimeout(l.serving, handshakeTimeout)
	defer cancel()
	w.turns.Begin(l.server.handshakeSlots.NewTurn(ctx, netaddr.Network(counted.Addr())))
	secured := tls.Server(w, l.tls)
	_ = w.SetDeadline(time.Now().Add(handshakeTimeout))
	err := secured.HandshakeContext(ctx)
	w.turns.Finish()
	if err != nil {
		l.server.metrics.FailedHandshakes.Add(1)
		_ = w.Close()
		return
	}
	_ = w.SetDeadline(time.Time{})
	l.enqueue(secured)
}

// enqueue passes a connection to HTTP, or closes it if accepting has ended.
func (l *webListener) enqueue(c net.Conn) {
	select {
	case l.ready <- c:
	case <-l.done:
		_ = c.Close()
	}
}
