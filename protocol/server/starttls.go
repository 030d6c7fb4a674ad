package server

import (
	"context"
	"net"
	"time"

	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/wait"
)

// mayStartTLS reports whether STARTTLS is offered.
func (s *session) mayStartTLS() bool {
	return s.tls == nil && s.server.config.Certificates != nil && s.transport != protocol.WebSocket
}

// handleStartTLS continues with TLS (SIMP.md, section 4). rest is what
// followed the request in plaintext, which an attacker may have injected, so
// it is an error.
//
// The request before may be answered, and its task not quite over: a client
// that has the answer must not be told that it is missing.
func (s *session) handleStartTLS(r *request, rest []byte) {
	if len(rest) == 0 && s.work.isBusy() && checkSyntax(0, r) == nil {
		own := r.detach()
		own.line.Literal = -1
		s.runBlocking(func() {
			s.work.awaitIdle(taskEnd)
			if s.answerStartTLS(own, nil) {
				s.freezeAndUpgrade()
			}
		})
		return
	}
	if s.answerStartTLS(r, rest) {
		s.runBlocking(s.freezeAndUpgrade)
	}
}

// taskEnd limits the wait of STARTTLS for a task that may have answered.
const taskEnd = 50 * time.Millisecond

// answerStartTLS answers a STARTTLS, and reports whether TLS follows.
func (s *session) answerStartTLS(r *request, rest []byte) bool {
	if err := s.checkStartTLS(r); err != nil {
		s.refuse(r, err)
		return false
	}
	if len(rest) > 0 {
		s.Bye(protocol.StatusBadRequest, "something follows STARTTLS in clear")
		return false
	}
	s.respondOK(r)
	return true
}

func (s *session) freezeAndUpgrade() {
	if s.conn.Freeze() {
		s.upgrade()
	}
}

func (s *session) checkStartTLS(r *request) error {
	switch {
	case s.state.isAuthenticating():
		return protocol.Errorf(protocol.StatusWrongState, "AUTH is not answered yet: only MORE, PING and QUIT may be sent")
	case s.tls != nil:
		return protocol.Errorf(protocol.StatusWrongState, "TLS is on already")
	case s.state.isAuthenticated():
		return protocol.Errorf(protocol.StatusWrongState, "STARTTLS comes before AUTH")
	case s.work.isBusy(): // what waits would be done after the handshake
		return protocol.Errorf(protocol.StatusWrongState, "an earlier request is not answered yet")
	case !s.mayStartTLS():
		return protocol.Errorf(protocol.StatusForbidden, "this connection does not offer TLS")
	case r.line.Literal >= 0:
		return protocol.Errorf(protocol.StatusBadRequest, "STARTTLS takes no literal")
	}
	return nil
}

// upgrade performs the handshake and forgets what was said before. The outbox
// is frozen meanwhile.
func (s *session) upgrade() {
	if err := s.handshake(); err != nil {
		s.server.metrics.FailedHandshakes.Add(1)
		s.conn.Fail()
		return
	}
	s.state.setPhase(phaseConnected)
	s.client.Agent, s.minor = "", 0
	s.conn.Thaw()
}

// handshake puts TLS over the connection.
func (s *session) handshake() error {
	deadline := wait.Earlier(time.Now().Add(handshakeTimeout), s.activity.start.Add(authTimeout))
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if s.state.isClosing() { // whoever closed it may have set a deadline before this one
		return net.ErrClosed
	}
	ctx, cancel := context.WithDeadline(s.server.stopping, deadline)
	defer cancel()
	turn := s.server.handshakeSlots.NewTurn(ctx, netaddr.Network(s.client.Remote.Addr()))
	state, err := s.conn.StartTLS(s.server.tls, turn)
	if err != nil {
		return err
	}
	s.tls = state
	return s.conn.SetReadDeadline(time.Time{})
}
