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
	_, err := h.findPassword(s, a, password)
	return err
}

// findPassword returns the stored key of the password, if it is one of the
// user's.
func (h Hasher) findPassword(s Server, a Account, password string) (storedKey []byte, err error) {
	h <- struct{}{}
	defer func() { <-h }()
	if err := s.CheckLimits(a.User); err != nil {
		return nil, err
	}
	storedKey = a.Credentials.StoredKeyOf(password)
	if _, fits := a.Credentials.FindKey(storedKey); !fits || !a.Known {
		return nil, fail(s, a.User)
	}
	return storedKey, nil
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
