package server

import (
	"crypto/tls"
	"net"
	"time"

	"simpd/protocol"
	"simpd/protocol/tlsrecord"
)

// mayStartTLS reports whether STARTTLS is offered now.
func (s *session) mayStartTLS() bool {
	return s.tls == nil && s.server.config.Certificates != nil && s.transport != protocol.WebSocket
}

// starttls goes on in TLS (SIMP.md, section 4). rest is what came after the
// request: somebody else may have put it in, so nothing of it is done.
func (s *session) starttls(r *request, rest []byte) {
	err := s.checkStartTLS(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	if len(rest) > 0 {
		s.Bye(protocol.StatusBadRequest, "something follows STARTTLS in clear")
		return
	}
	s.ok(r)
	s.wait(func() {
		if s.out.freeze() {
			s.upgrade()
		}
	})
}

func (s *session) checkStartTLS(r *request) error {
	switch {
	case s.logging.Load():
		return protocol.Errorf(protocol.StatusWrongState, "AUTH is not answered yet: only MORE, PING and QUIT may be sent")
	case s.tls != nil:
		return protocol.Errorf(protocol.StatusWrongState, "TLS is on already")
	case s.proved.Load():
		return protocol.Errorf(protocol.StatusWrongState, "STARTTLS comes before AUTH")
	case !s.mayStartTLS():
		return protocol.Errorf(protocol.StatusForbidden, "there is no TLS here")
	case r.line.Literal >= 0:
		return protocol.Errorf(protocol.StatusBadRequest, "STARTTLS takes no literal")
	}
	return nil
}

// upgrade holds the handshake and forgets what was said before. The outbox is
// frozen meanwhile.
func (s *session) upgrade() {
	w, err := s.handshake()
	if err != nil {
		s.server.metrics.Handshakes.Add(1)
		s.out.fail()
		return
	}
	s.greeted, s.client.Agent = false, ""
	s.out.thaw(w)
}

// handshake puts TLS over the connection.
func (s *session) handshake() (wire, error) {
	if err := s.conn.SetReadDeadline(sooner(time.Now().Add(handshakeTime), s.vigil.began.Add(proveTime))); err != nil {
		return nil, err
	}
	w, state, err := newTLS(s.conn, s.server.tls, s.server.newHandshakeTurn(s.client.Remote))
	if err != nil {
		return nil, err
	}
	s.tls = state
	return w, s.conn.SetReadDeadline(time.Time{})
}

// newStreamTLS returns the wire of TLS over c, once the handshake is done.
func newStreamTLS(c net.Conn, config *tls.Config, turn *handshakeTurn) (wire, func() tls.ConnectionState, error) {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, nil, err
	}
	turns := &turnConn{c, turn}
	below := tlsrecord.NewBelow(turns)
	t := tls.Server(below, config)
	err := t.Handshake()
	turns.finish()
	if err != nil {
		return nil, nil, err
	}
	return newStream(below.Above(t)), t.ConnectionState, c.SetWriteDeadline(time.Time{})
}
