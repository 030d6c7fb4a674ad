package server

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"simpd/protocol"
)

// Serve accepts connections from l until Shutdown. They begin in plaintext,
// and STARTTLS may follow. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.acceptFrom(l, protocol.PlainTCP) }

// ServeTLS accepts connections from l until Shutdown. They begin with TLS. It
// closes l.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.tls == nil {
		return errors.New("TLS wants a certificate")
	}
	return s.acceptFrom(l, protocol.TLS)
}

func (s *Server) acceptFrom(l net.Listener, t protocol.Transport) error {
	l = s.newSocketListener(l)
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.removeListener(l)
	if a, ok := l.(*socketListener); ok {
		return a.acceptLoop(s, t)
	}
	for {
		c, err := s.acceptRetrying(l)
		if err != nil {
			return err
		}
		s.metrics.Accepted.Add(1)
		s.acceptConn(c, t)
	}
}

// acceptConn starts a session on a connection, or rejects it.
func (s *Server) acceptConn(c net.Conn, t protocol.Transport) {
	if s.isBalancer(addrPort(c.RemoteAddr()).Addr()) {
		s.acceptProxied(c, false, func(c net.Conn, remote netip.AddrPort) { s.admitConn(c, t, remote) })
		return
	}
	s.admitConn(c, t, addrPort(c.RemoteAddr()))
}

func (s *Server) admitConn(c net.Conn, t protocol.Transport, remote netip.AddrPort) {
	a, refusal := s.connLimiter.acquire(remote)
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		rejectConn(c, t, refusal)
		return
	}
	w, on, err := s.newTransport(c)
	if err != nil {
		a.release()
		_ = c.Close() // it is gone already
		return
	}
	s.beginSession(on, w, remote, a, t)
}

// beginSession starts a session on a connection that was admitted.
func (s *Server) beginSession(on conn, w transport, remote netip.AddrPort, a *connSlot, t protocol.Transport) {
	x := s.newSession(on, w, remote, a)
	x.transport = t
	if t == protocol.TLS {
		x.out.freeze() // until the handshake is done
	}
	s.startSession(x)
}

// rejectConn sends the reason, if that costs nothing, and closes.
func rejectConn(c net.Conn, t protocol.Transport, why string) {
	if t == protocol.PlainTCP {
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write(rejectLine(why)) // the client may be gone
	}
	_ = c.Close()
}

func rejectLine(why string) []byte {
	b := protocol.AppendRequest(nil, "*", "BYE")
	b = protocol.AppendInt(b, "status", uint64(protocol.StatusUnavailable))
	return protocol.AppendEnd(protocol.AppendText(b, why))
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
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

// Limits of the pause after a failure to accept, which doubles each time.
const (
	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// acceptRetrying accepts a connection. If that fails temporarily, as for lack
// of file descriptors, it tries again after growing pauses.
func (s *Server) acceptRetrying(l net.Listener) (net.Conn, error) {
	for pause := minAcceptBackoff; ; pause = min(2*pause, maxAcceptBackoff) {
		c, err := l.Accept()
		if err == nil {
			return c, nil
		}
		if s.isStopped() {
			return nil, ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		s.backoffAccept(err, pause)
	}
}

func (s *Server) backoffAccept(why error, pause time.Duration) {
	s.config.Logger.Warn("no connection can be accepted", "error", why, "again", pause)
	time.Sleep(pause)
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}
