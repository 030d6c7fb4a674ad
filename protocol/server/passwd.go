package server

import (
	"bytes"
	"context"
	"errors"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
)

// handlePasswd changes the user's password (SIMP.md, section 4).
func (s *session) handlePasswd(ctx context.Context, r *request) error {
	if err := s.refuseAppPassword(); err != nil {
		return err
	}
	before, after, err := s.decodePasswd(r)
	if err != nil {
		return err
	}
	if c, _ := s.server.config.Backend.Credentials(s.client.User); c.Source != "" {
		return protocol.Errorf(protocol.StatusForbidden, "this account belongs to the account source %s: change its password there", c.Source)
	}
	if err := s.checkOldPassword(ctx, before); err != nil {
		return err
	}
	if err := protocol.CheckPassword(after); err != nil { // costs less than the hash
		return err
	}
	if err := s.retryOtherSalt(func() error { return s.setPassword(ctx, after) }); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

// setPassword gives the user a new password, which shares its salt with the
// user's app passwords.
func (s *session) setPassword(ctx context.Context, password string) (err error) {
	c, _ := s.server.config.Backend.Credentials(s.client.User)
	if c.SharesSalt {
		c, err = s.server.hasher.NewCredentialsLike(c, password)
	} else {
		c, err = s.server.hasher.NewCredentials(password, s.server.config.iterations)
	}
	if err != nil {
		return err
	}
	return s.user.SetPassword(ctx, c)
}

// maxSaltRetries is how often a new password is hashed again because the
// user's passwords have got another salt meanwhile.
const maxSaltRetries = 3

// retryOtherSalt calls change again while its error wraps
// protocol.ErrOtherSalt.
func (s *session) retryOtherSalt(change func() error) error {
	for range maxSaltRetries {
		if err := change(); !errors.Is(err, protocol.ErrOtherSalt) {
			return err
		}
	}
	return protocol.Errorf(protocol.StatusUnavailable, "the passwords are being changed elsewhere; try again")
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
		return "", "", protocol.Errorf(protocol.StatusBadRequest, "PASSWD requires data=BASE64(old NUL new)")
	}
	return string(parts[0]), string(parts[1]), nil
}

// checkOldPassword checks the user's present password.
func (s *session) checkOldPassword(ctx context.Context, password string) error {
	if err := s.checkLoginLimits(s.userAttempt(s.client.User)); err != nil {
		return err
	}
	c, known := s.server.config.Backend.Credentials(s.client.User)
	c.AppPasswords = nil // these do not count
	a := sasl.Account{User: s.client.User, Credentials: c, Known: known}
	return s.server.hasher.CheckPassword(ctx, userAuth{s}, a, password)
}
