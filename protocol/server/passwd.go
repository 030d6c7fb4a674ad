package server

import (
	"bytes"
	"context"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
)

// handlePasswd changes the user's password (SIMP.md, section 4).
func (s *session) handlePasswd(ctx context.Context, r *request) error {
	before, after, err := s.decodePasswd(r)
	if err != nil {
		return err
	}
	if err := s.checkOldPassword(ctx, before); err != nil {
		return err
	}
	if err := protocol.CheckPassword(after); err != nil { // costs less than the hash
		return err
	}
	c, err := s.server.hasher.NewCredentials(after, s.server.config.iterations)
	if err != nil {
		return err
	}
	if err := s.user.SetPassword(ctx, c); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

func (s *session) decodePasswd(r *request) (before, after string, err error) {
	if !s.allowsPlain() {
		return "", "", protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only")
	}
	data, given, err := authData(r)
	if err != nil {
		return "", "", err
	}
	parts := bytes.Split(data, []byte{0})
	if !given || len(parts) != 2 {
		return "", "", protocol.Errorf(protocol.StatusBadRequest, "PASSWD wants data=BASE64(old NUL new)")
	}
	return string(parts[0]), string(parts[1]), nil
}

// checkOldPassword checks the user's present password.
func (s *session) checkOldPassword(ctx context.Context, password string) error {
	if err := s.checkLoginLimits(s.userAttempt(s.client.User)); err != nil {
		return err
	}
	c, known := s.server.config.Backend.Credentials(s.client.User)
	a := sasl.Account{User: s.client.User, Credentials: c, Known: known}
	return s.server.hasher.CheckPassword(ctx, userAuth{s}, a, password)
}
