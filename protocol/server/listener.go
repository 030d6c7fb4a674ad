package server

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// Serve accepts connections from l until Shutdown. They begin in plaintext,
// and STARTTLS may follow. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.acceptFrom(l, protocol.PlainTCP) }

// ServeTLS accepts connections from l until Shutdown. They begin with TLS. It
// closes l.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.tls == nil {
		return errors.New("TLS requires a certificate")
	}
	return s.acceptFrom(l, protocol.TLS)
}

func (s *Server) acceptFrom(l net.Listener, t protocol.Transport) error {
	if len(s.config.Balancers) == 0 { // or their header is read before an event loop takes over
		l = netio.NewListener(l)
	}
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.removeListener(l)
	err := s.network.Accept(l, acceptor{s, t})
	if s.isStopped() {
		return ErrClosed
	}
	return err
}

// acceptor begins the sessions of a listener.
type acceptor struct {
	server    *Server
	transport protocol.Transport
}

// OnAccepted starts a session on a connection, or rejects it.
func (a acceptor) OnAccepted(c netio.Accepted) {
	s := a.server
	s.metrics.Accepted.Add(1)
	if c.NetConn != nil && s.isBalancer(c.Remote.Addr()) {
		s.acceptProxied(c.NetConn, false, func(c net.Conn, remote netip.AddrPort) {
			a.admit(s.network.NewAccepted(c, remote))
		})
		return
	}
	a.admit(c)
}

// OnAcceptFailed sleeps until accepting is tried again.
func (a acceptor) OnAcceptFailed(err error, pause time.Duration) bool {
	return a.server.backoffAccept(err, pause)
}

func (a acceptor) admit(c netio.Accepted) {
	s := a.server
	slot, refusal := s.connLimiter.acquire(c.Remote)
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		c.Reject(a.rejectLine(refusal))
		return
	}
	stream, err := c.Stream()
	if err != nil {
		slot.release()
		return
	}
	x := s.newSession(stream, c.Remote, slot)
	x.transport = a.transport
	if a.transport == protocol.TLS {
		x.conn.Freeze() // until the handshake is done
	}
	s.startSession(x)
}

// rejectLine returns what a rejected client is sent. With TLS that is nothing.
func (a acceptor) rejectLine(why string) []byte {
	if a.transport != protocol.PlainTCP {
		return nil
	}
	b := protocol.AppendRequest(nil, "*", "BYE")
	b = protocol.AppendInt(b, "status", uint64(protocol.StatusUnavailable))
	return protocol.AppendEnd(protocol.AppendText(b, why))
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = l.Close()
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close()
}

// backoffAccept sleeps after a failure to accept. It returns false after
// Shutdown.
func (s *Server) backoffAccept(why error, pause time.Duration) bool {
	if s.isStopped() {
		return false
	}
	s.config.Logger.Warn("no connection can be accepted", "error", why, "retry_in", pause)
	time.Sleep(pause)
	return true
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}
