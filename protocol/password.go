package protocol

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"

	"github.com/xdg-go/stringprep"
)

// The work that a SCRAM verifier costs (RFC 5802: Iterations), and the salt.
const (
	ScramIterations    = 10_000 // of a new password
	MinScramIterations = 4096   // less is refused by clients (RFC 7677)
	MaxScramIterations = 1_000_000
	ScramSaltOctets    = 16
	MaxPassword        = 1024 // octets
)

// PreparePassword returns a password as SCRAM and PLAIN compare it: by
// SASLprep (RFC 4013), so that it is the same on all keyboards. What SASLprep
// knows no form for, such as characters newer than it, stays as it is.
func PreparePassword(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		return prepared
	}
	return password
}

// NewCredentials makes the verifier of a password. Iterations outside the
// bounds above, an empty password and one longer than MaxPassword are an
// *Error of status 400. It takes milliseconds on purpose.
func NewCredentials(password string, salt []byte, iterations int) (Credentials, error) {
	if password == "" || len(password) > MaxPassword {
		return Credentials{}, Errorf(StatusBadRequest, "a password has 1 to %d octets", MaxPassword)
	}
	if iterations < MinScramIterations || iterations > MaxScramIterations {
		return Credentials{}, Errorf(StatusBadRequest, "%d iterations are outside %d to %d", iterations, MinScramIterations, MaxScramIterations)
	}
	salted, err := pbkdf2.Key(sha256.New, PreparePassword(password), salt, iterations, sha256.Size)
	if err != nil {
		return Credentials{}, Errorf(StatusServerError, "the password can't be hashed: %v", err)
	}
	stored := sha256.Sum256(scramMAC(salted, "Client Key"))
	return Credentials{Salt: salt, Iterations: iterations, StoredKey: stored[:], ServerKey: scramMAC(salted, "Server Key")}, nil
}

// Fits tells whether password is the one that c verifies, in the time that
// hashing takes, whatever it is.
func (c Credentials) Fits(password string) bool {
	got, err := NewCredentials(password, c.Salt, c.Iterations)
	return err == nil && hmac.Equal(got.StoredKey, c.StoredKey) && hmac.Equal(got.ServerKey, c.ServerKey)
}

func scramMAC(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
