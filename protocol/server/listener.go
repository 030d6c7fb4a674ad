package server

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"simpd/protocol"
)

// Serve takes connections from l until Shutdown, each beginning in clear,
// where STARTTLS may follow. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, protocol.PlainTCP) }

// ServeTLS takes connections from l until Shutdown, each beginning with TLS.
// It closes l.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.tls == nil {
		return errors.New("TLS wants a certificate")
	}
	return s.serve(l, protocol.TLS)
}

func (s *Server) serve(l net.Listener, t protocol.Transport) error {
	l = s.accepting(l)
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.removeListener(l)
	if a, ok := l.(*acceptor); ok {
		return a.acceptAll(s, t)
	}
	for {
		c, err := s.accept(l)
		if err != nil {
			return err
		}
		s.metrics.Accepted.Add(1)
		s.take(c, t)
	}
}

// take makes a session of a connection, or turns it away.
func (s *Server) take(c net.Conn, t protocol.Transport) {
	if s.isBalancer(addrPort(c.RemoteAddr()).Addr()) {
		s.takeProxied(c, false, func(c net.Conn, remote netip.AddrPort) { s.takeFrom(c, t, remote) })
		return
	}
	s.takeFrom(c, t, addrPort(c.RemoteAddr()))
}

func (s *Server) takeFrom(c net.Conn, t protocol.Transport, remote netip.AddrPort) {
	a, refusal := s.admission.admit(remote)
	if refusal != "" {
		s.metrics.Turned.Add(1)
		turnAway(c, t, refusal)
		return
	}
	w, on, err := s.newWire(c)
	if err != nil {
		a.leave()
		_ = c.Close() // it is gone already
		return
	}
	s.hold(on, w, remote, a, t)
}

// hold begins a session over a connection that was admitted.
func (s *Server) hold(on conn, w wire, remote netip.AddrPort, a *admitted, t protocol.Transport) {
	x := s.newSession(on, w, remote, a)
	x.transport = t
	if t == protocol.TLS {
		x.out.freeze() // until the handshake is done
	}
	s.start(x)
}

// turnAway says why, as far as that costs nothing, and closes.
func turnAway(c net.Conn, t protocol.Transport, why string) {
	if t == protocol.PlainTCP {
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write(turnedAway(why)) // the client may be gone
	}
	_ = c.Close()
}

func turnedAway(why string) []byte {
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

// How long accepting pauses where it fails: longer and longer.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// accept waits for a connection. Where there are no files left, or the like,
// it tries again ever more slowly.
func (s *Server) accept(l net.Listener) (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
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
		s.pauseAccepting(err, pause)
	}
}

func (s *Server) pauseAccepting(why error, pause time.Duration) {
	s.config.Logger.Warn("no connection can be accepted", "error", why, "again", pause)
	time.Sleep(pause)
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}
