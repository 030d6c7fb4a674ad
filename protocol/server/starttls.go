package server

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"simpd/protocol"
	"simpd/protocol/fairslots"
	"simpd/protocol/netaddr"
	"simpd/protocol/tlsrecord"
)

// mayStartTLS reports whether STARTTLS is offered.
func (s *session) mayStartTLS() bool {
	return s.tls == nil && s.server.config.Certificates != nil && s.transport != protocol.WebSocket
}

// handleStartTLS continues with TLS (SIMP.md, section 4). rest is what
// followed the request in plaintext, which an attacker may have injected, so
// it is an error.
func (s *session) handleStartTLS(r *request, rest []byte) {
	err := s.checkStartTLS(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	if len(rest) > 0 {
		s.Bye(protocol.StatusBadRequest, "something follows STARTTLS in clear")
		return
	}
	s.respondOK(r)
	s.runBlocking(func() {
		if s.out.freeze() {
			s.upgrade()
		}
	})
}

func (s *session) checkStartTLS(r *request) error {
	switch {
	case s.authPending.Load():
		return protocol.Errorf(protocol.StatusWrongState, "AUTH is not answered yet: only MORE, PING and QUIT may be sent")
	case s.tls != nil:
		return protocol.Errorf(protocol.StatusWrongState, "TLS is on already")
	case s.authenticated.Load():
		return protocol.Errorf(protocol.StatusWrongState, "STARTTLS comes before AUTH")
	case !s.mayStartTLS():
		return protocol.Errorf(protocol.StatusForbidden, "there is no TLS here")
	case r.line.Literal >= 0:
		return protocol.Errorf(protocol.StatusBadRequest, "STARTTLS takes no literal")
	}
	return nil
}

// upgrade performs the handshake and forgets what was said before. The outbox
// is frozen meanwhile.
func (s *session) upgrade() {
	w, err := s.handshake()
	if err != nil {
		s.server.metrics.FailedHandshakes.Add(1)
		s.out.fail()
		return
	}
	s.greeted, s.client.Agent = false, ""
	s.out.thaw(w)
}

// handshake puts TLS over the connection.
func (s *session) handshake() (transport, error) {
	deadline := earlier(time.Now().Add(handshakeTimeout), s.activity.start.Add(authTimeout))
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	if s.closing.Load() { // whoever closed it may have set a deadline before this one
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithDeadline(s.server.stopping, deadline)
	defer cancel()
	turn := s.server.handshakeSlots.NewTurn(ctx, netaddr.Network(s.client.Remote.Addr()))
	w, state, err := newTLSTransport(s.conn, s.server.tls, turn)
	if err != nil {
		return nil, err
	}
	s.tls = state
	return w, s.conn.SetReadDeadline(time.Time{})
}

// newNetTLSTransport returns the transport of TLS over c after the handshake.
func newNetTLSTransport(c net.Conn, config *tls.Config, turn *fairslots.Turn) (transport, func() tls.ConnectionState, error) {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, err
	}
	turns := fairslots.NewConn(c)
	turns.Begin(turn)
	below := tlsrecord.NewBelow(turns)
	t := tls.Server(below, config)
	err := t.Handshake()
	turns.Finish()
	if err != nil {
		return nil, nil, err
	}
	return newNetTransport(below.Above(t)), t.ConnectionState, c.SetWriteDeadline(time.Time{})
}
