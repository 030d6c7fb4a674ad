package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"sync"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// What a verifier made elsewhere has to be at least and at most.
const (
	minIterations = 10_000
	maxIterations = protocol.MaxScramIterations
	minSalt       = protocol.ScramSaltOctets
	maxSalt       = 64
)

// hasher makes verifiers of passwords, few at a time: the processors are for
// messages first.
type hasher struct {
	slots chan struct{}
	empty *emptyVerifier
}

func newHasher() hasher {
	return hasher{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), new(emptyVerifier)}
}

// makeVerifier returns what a checked credential says, hashed here if it is a
// password. A verifier of the empty password is a violation of field: whoever
// has one lets anybody in.
func (h hasher) makeVerifier(ctx context.Context, field string, c *simpv1.Credential) (*storev1.Verifier, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if v := c.GetVerifier(); v != nil {
		if h.empty.matches(v) {
			f := &fields{}
			f.addViolation(field+".verifier", "verifies the empty password")
			return nil, f.err()
		}
		return &storev1.Verifier{Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey, ServerKey: v.ServerKey}, nil
	}
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt)
	made, err := protocol.NewCredentials(c.GetPassword(), salt, protocol.ScramIterations)
	if err != nil {
		return nil, err
	}
	return &storev1.Verifier{Salt: salt, Iterations: protocol.ScramIterations, StoredKey: made.StoredKey, ServerKey: made.ServerKey}, nil
}

// emptyVerifier holds the verifier of the empty password for the salt and the
// iterations that were asked for last: an import often has the same for all.
type emptyVerifier struct {
	mu   sync.Mutex
	last protocol.Credentials
}

// matches reports whether v verifies the empty password. It may take as long
// as hashing does.
func (e *emptyVerifier) matches(v *simpv1.ScramVerifier) bool {
	e.mu.Lock()
	last := e.last
	e.mu.Unlock()
	if !bytes.Equal(last.Salt, v.Salt) || last.Iterations != int(v.Iterations) {
		var err error
		if last, err = protocol.EmptyCredentials(v.Salt, int(v.Iterations)); err != nil {
			return true // it can't be told, and so it must not pass
		}
		e.mu.Lock()
		e.last = last
		e.mu.Unlock()
	}
	return bytes.Equal(last.StoredKey, v.StoredKey)
}

// checkCredential checks a credential.
func (f *fields) checkCredential(field string, c *simpv1.Credential) {
	switch kind := c.GetKind().(type) {
	case *simpv1.Credential_Password:
		if err := protocol.CheckPassword(kind.Password); err != nil {
			f.addViolation(field+".password", "%s", textWithoutStatus(err))
		}
	case *simpv1.Credential_Verifier:
		f.checkVerifier(field+".verifier", kind.Verifier)
	default:
		f.addViolation(field, "a password or a verifier is required")
	}
}

func (f *fields) checkVerifier(field string, v *simpv1.ScramVerifier) {
	if n := len(v.GetSalt()); n < minSalt || n > maxSalt {
		f.addViolation(field+".salt", "has %d octets; must have %d to %d", n, minSalt, maxSalt)
	}
	if n := v.GetIterations(); n < minIterations || n > maxIterations {
		f.addViolation(field+".iterations", "is %d; must be %d to %d", n, minIterations, maxIterations)
	}
	if n := len(v.GetStoredKey()); n != sha256.Size {
		f.addViolation(field+".stored_key", "has %d octets; must have %d", n, sha256.Size)
	}
	if n := len(v.GetServerKey()); n != sha256.Size {
		f.addViolation(field+".server_key", "has %d octets; must have %d", n, sha256.Size)
	}
}
