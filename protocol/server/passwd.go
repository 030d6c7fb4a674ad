package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"runtime"

	"simpd/protocol"
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
	c, err := s.server.hashing.newCredentials(after, s.server.config.Iterations)
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
	return s.checkPassword(ctx, saslAccount{s.client.User, c, known}, password)
}

// checkPassword checks the account's password, in its turn. It checks the
// limits on failed logins again when it has acquired a processor for the
// hash, because others may have failed meanwhile.
func (s *session) checkPassword(ctx context.Context, a saslAccount, password string) error {
	if err := s.awaitTurn(ctx, s.userAttempt(a.user)); err != nil {
		return err
	}
	h := s.server.hashing
	h <- struct{}{}
	defer func() { <-h }()
	if err := s.checkLoginLimits(s.userAttempt(a.user)); err != nil {
		return err
	}
	if fits := a.credentials.Fits(password); !fits || !a.known {
		return s.authFailure(a.user)
	}
	return nil
}

// hashSemaphore limits concurrent password hashing to the number of
// processors.
type hashSemaphore chan struct{}

func newHashSemaphore() hashSemaphore { return make(hashSemaphore, runtime.GOMAXPROCS(0)) }

func (h hashSemaphore) fitsEmpty(c protocol.Credentials) bool {
	h <- struct{}{}
	defer func() { <-h }()
	return c.FitsEmpty()
}

func (h hashSemaphore) newCredentials(password string, iterations int) (protocol.Credentials, error) {
	h <- struct{}{}
	defer func() { <-h }()
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt) // never fails
	return protocol.NewCredentials(password, salt, iterations)
}
