package server

import (
	"context"

	"simpd/protocol"
)

// joinRequest is a decoded JOIN.
type joinRequest struct {
	code     string
	user     protocol.Address
	password string
}

// handleJoin creates an account with the code of an invitation (SIMP.md,
// section 4). A wrong code is a failed login of the client's source; it does
// not count for the address, which anybody may name.
func (s *session) handleJoin(ctx context.Context, r *request) error {
	j, err := s.decodeJoin(r)
	if err != nil {
		return err
	}
	attempt := s.newAttempt(protocol.Principal{})
	if err := s.awaitTurn(ctx, attempt); err != nil {
		return err
	}
	err = s.join(ctx, j)
	if err == nil {
		s.respond(r, protocol.AppendParam(response(r, protocol.StatusOK), "ima", j.user.String()))
		return nil
	}
	failed := s.server.toError(err).Status == protocol.StatusUnauthorized
	if failed {
		s.authFailures++
		s.server.metrics.LoginsFailed.Add(1)
		s.server.config.Backend.Failed(attempt)
	}
	s.refuse(r, err)
	if failed && s.authFailures >= maxFailures {
		s.Bye(protocol.StatusUnauthorized, "too many failed logins")
	}
	return nil
}

func (s *session) decodeJoin(r *request) (j joinRequest, err error) {
	if s.state.isAuthenticated() {
		return j, protocol.Errorf(protocol.StatusWrongState, "this connection is authenticated already")
	}
	if !s.allowsPlain() {
		return j, protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only")
	}
	code, _ := r.line.Get("code")
	ima, _ := r.line.Get("ima")
	data, given, err := authData(r)
	switch {
	case err != nil:
		return j, err
	case code == "" || ima == "" || !given:
		return j, protocol.Errorf(protocol.StatusBadRequest, "JOIN requires code=CODE ima=IMA data=BASE64(password)")
	}
	j.code, j.password = code, string(data)
	if j.user, err = s.server.parseNewUser(ima); err != nil {
		return j, err
	}
	return j, protocol.CheckPassword(j.password)
}

// parseNewUser parses the address of a user to be.
func (s *Server) parseNewUser(v string) (protocol.Address, error) {
	a, err := s.parseAddress(v)
	switch {
	case err != nil:
		return a, err
	case !s.isLocal(a):
		return a, protocol.Errorf(protocol.StatusForbidden, "%s is not a domain of this site", a.Domain())
	}
	if _, ok := a.PRECISFold(); !ok {
		return a, protocol.Errorf(protocol.StatusBadRequest, "%s can't be a user's name", protocol.Quote(a.Local()))
	}
	return a, nil
}

// join checks the invitation before the password is hashed, which costs more.
func (s *session) join(ctx context.Context, j joinRequest) error {
	backend := s.server.config.Backend
	if err := backend.CheckInvitation(ctx, j.code, j.user); err != nil {
		return err
	}
	c, err := s.server.hasher.NewCredentials(j.password, s.server.config.iterations)
	if err != nil {
		return err
	}
	return backend.Join(ctx, j.code, j.user, c)
}
