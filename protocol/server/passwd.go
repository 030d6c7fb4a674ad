package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"runtime"

	"simpd/protocol"
)

// passwd changes the user's password (SIMP.md, section 4).
func (s *session) passwd(ctx context.Context, r *request) {
	before, after, err := s.decodePasswd(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	if err := s.checkOldPassword(ctx, before); err != nil {
		s.refuse(r, err)
		return
	}
	if err := protocol.CheckPassword(after); err != nil { // costs less than the hash
		s.refuse(r, err)
		return
	}
	c, err := s.server.hashing.make(after, s.server.config.Iterations)
	if err != nil {
		s.refuse(r, err)
		return
	}
	if err := s.user.SetPassword(ctx, c); err != nil {
		s.refuse(r, err)
		return
	}
	s.ok(r)
}

func (s *session) decodePasswd(r *request) (before, after string, err error) {
	if !s.mayPlain() {
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

// checkOldPassword looks whether password is the user's.
func (s *session) checkOldPassword(ctx context.Context, password string) error {
	if err := s.admit(s.attemptOf(s.client.User)); err != nil {
		return err
	}
	c, known := s.server.config.Backend.Credentials(s.client.User)
	return s.checkPassword(ctx, account{s.client.User, c, known}, password)
}

// checkPassword looks whether password is the account's, in its turn. The
// limits of failed logins are asked once more when there is a processor for
// the hash: others may have failed meanwhile.
func (s *session) checkPassword(ctx context.Context, a account, password string) error {
	if err := s.awaitTurn(ctx, s.attemptOf(a.user)); err != nil {
		return err
	}
	h := s.server.hashing
	h <- struct{}{}
	defer func() { <-h }()
	if err := s.admit(s.attemptOf(a.user)); err != nil {
		return err
	}
	if fits := a.credentials.Fits(password); !fits || !a.known {
		return s.wrongCredentials(a.user)
	}
	return nil
}

// hashing lets as many passwords be hashed at a time as there are processors.
type hashing chan struct{}

func newHashing() hashing { return make(hashing, runtime.GOMAXPROCS(0)) }

func (h hashing) fitsEmpty(c protocol.Credentials) bool {
	h <- struct{}{}
	defer func() { <-h }()
	return c.FitsEmpty()
}

func (h hashing) make(password string, iterations int) (protocol.Credentials, error) {
	h <- struct{}{}
	defer func() { <-h }()
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt) // never fails
	return protocol.NewCredentials(password, salt, iterations)
}
