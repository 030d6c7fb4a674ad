package sasl

import (
	"context"
	"crypto/rand"
	"runtime"

	"simpd/protocol"
)

// Hasher hashes passwords, at most as many at a time as it has capacity. Any
// goroutine may use it.
type Hasher chan struct{}

// NewHasher returns a Hasher that uses all processors.
func NewHasher() Hasher { return make(Hasher, runtime.GOMAXPROCS(0)) }

// CheckPassword checks one of the user's passwords, in its turn. It checks the
// limits on failed logins again when it has acquired a processor for the
// hash, because others may have failed meanwhile.
func (h Hasher) CheckPassword(ctx context.Context, s Server, a Account, password string) error {
	if err := s.AwaitTurn(ctx, a.User); err != nil {
		return err
	}
	_, err := h.findPassword(s, a, password, nil)
	return err
}

// findPassword returns the stored key of the password, if it is one of the
// user's. Otherwise it counts a failed login.
func (h Hasher) findPassword(s Server, a Account, password string, proved *ProvedPasswords) (storedKey []byte, err error) {
	storedKey, fits, err := h.matchPassword(s, a, password, proved)
	if err == nil && !fits {
		err = fail(s, a.User)
	}
	return storedKey, err
}

// matchPassword returns the stored key of the password, and whether it is one
// of the user's in the table. One that proved remembers is not hashed, but waits
// for its turn like all others: so no guess is answered before those ahead of
// it are counted.
func (h Hasher) matchPassword(s Server, a Account, password string, proved *ProvedPasswords) (storedKey []byte, fits bool, err error) {
	h <- struct{}{}
	defer func() { <-h }()
	if err := s.CheckLimits(a.User); err != nil {
		return nil, false, err
	}
	if proved != nil {
		if storedKey, ok := proved.find(a, password); ok {
			return storedKey, true, nil
		}
	}
	storedKey = a.Credentials.StoredKeyOf(password)
	if _, fits := a.Credentials.FindKey(storedKey); !fits || !a.Known {
		return nil, false, nil
	}
	if proved != nil {
		proved.remember(a.User, password, storedKey)
	}
	return storedKey, true, nil
}

// NewCredentials returns the credentials of a new password.
func (h Hasher) NewCredentials(password string, iterations int) (protocol.Credentials, error) {
	h <- struct{}{}
	defer func() { <-h }()
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt) // never fails
	return protocol.NewCredentials(password, salt, iterations)
}

// NewCredentialsLike returns the credentials of a new password with the salt
// and the iteration count of c.
func (h Hasher) NewCredentialsLike(c protocol.Credentials, password string) (protocol.Credentials, error) {
	h <- struct{}{}
	defer func() { <-h }()
	return protocol.NewCredentials(password, c.Salt, c.Iterations)
}

func (h Hasher) fitsEmpty(c protocol.Credentials) bool {
	h <- struct{}{}
	defer func() { <-h }()
	return c.FitsEmpty()
}
