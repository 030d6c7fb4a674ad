package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"runtime"

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
type hasher struct{ slots chan struct{} }

func newHasher() hasher {
	return hasher{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// verifier is what a checked credential says, hashed here if it is a password.
func (h hasher) verifier(ctx context.Context, c *simpv1.Credential) (*storev1.Verifier, error) {
	if v := c.GetVerifier(); v != nil {
		return &storev1.Verifier{Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey, ServerKey: v.ServerKey}, nil
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	salt := make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt)
	made, err := protocol.NewCredentials(c.GetPassword(), salt, protocol.ScramIterations)
	if err != nil {
		return nil, err
	}
	return &storev1.Verifier{Salt: salt, Iterations: protocol.ScramIterations, StoredKey: made.StoredKey, ServerKey: made.ServerKey}, nil
}

// credential checks a credential.
func (f *fields) credential(field string, c *simpv1.Credential) {
	switch kind := c.GetKind().(type) {
	case *simpv1.Credential_Password:
		if n := len(kind.Password); n < 1 || n > protocol.MaxPassword {
			f.add(field+".password", "has %d octets; 1 to %d are wanted", n, protocol.MaxPassword)
		}
	case *simpv1.Credential_Verifier:
		f.verifier(field+".verifier", kind.Verifier)
	default:
		f.add(field, "a password or a verifier is wanted")
	}
}

func (f *fields) verifier(field string, v *simpv1.ScramVerifier) {
	if n := len(v.GetSalt()); n < minSalt || n > maxSalt {
		f.add(field+".salt", "has %d octets; %d to %d are wanted", n, minSalt, maxSalt)
	}
	if n := v.GetIterations(); n < minIterations || n > maxIterations {
		f.add(field+".iterations", "is %d; %d to %d are wanted", n, minIterations, maxIterations)
	}
	if n := len(v.GetStoredKey()); n != sha256.Size {
		f.add(field+".stored_key", "has %d octets; %d are wanted", n, sha256.Size)
	}
	if n := len(v.GetServerKey()); n != sha256.Size {
		f.add(field+".server_key", "has %d octets; %d are wanted", n, sha256.Size)
	}
}
