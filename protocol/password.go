package protocol

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// Limits of passwords and of SCRAM verifiers (RFC 5802).
const (
	// ScramIterations is the iteration count of PBKDF2 for a new password. It is the same
	// for all accounts that this project makes, so that the challenge of an
	// unknown user looks like theirs.
	ScramIterations    = 10_000
	MinScramIterations = 4096 // clients refuse fewer (RFC 7677)
	MaxScramIterations = 1_000_000
	ScramSaltOctets    = 16
	MaxPassword        = 1024            // octets, after preparation
	MaxTypedPassword   = 4 * MaxPassword // octets, before preparation
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

// CheckPassword reports why password must not become the password of an
// account; nil: it may. It is the one check for all ways in. The error is an
// *Error of status 400, and never shows the password.
//
// A password is UTF-8 without control characters and has 1 to MaxPassword
// octets after preparation, at least one of which can be seen or is a space.
// (SIMP.md, section 4.)
func CheckPassword(password string) error {
	switch {
	case len(password) > MaxTypedPassword:
		return Errorf(StatusBadRequest, "the password has more than %d octets", MaxTypedPassword)
	case !utf8.ValidString(password):
		return Errorf(StatusBadRequest, "the password is not valid UTF-8")
	case strings.ContainsFunc(password, isLineControl):
		return Errorf(StatusBadRequest, "the password has a control character")
	}
	prepared := PreparePassword(password)
	switch {
	case strings.TrimFunc(prepared, isInvisible) == "":
		return Errorf(StatusBadRequest, "the password is empty, or has only characters that do not count")
	case len(prepared) > MaxPassword:
		return Errorf(StatusBadRequest, "the password has %d octets; at most %d are allowed", len(prepared), MaxPassword)
	}
	return nil
}

// isLineControl reports whether r is a control character or separates lines
// (RFC 4013, section 2.3: tables C.2.1 and C.2.2 of RFC 3454).
func isLineControl(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) }

// isInvisible reports whether r leaves no trace: keyboards and clients drop
// such characters, so a password must not consist of them alone.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// NewCredentials makes the verifier of a password that is to become an
// account's. What CheckPassword refuses, and iterations outside the bounds
// above, are an *Error of status 400. It takes milliseconds on purpose.
func NewCredentials(password string, salt []byte, iterations int) (Credentials, error) {
	if err := CheckPassword(password); err != nil {
		return Credentials{}, err
	}
	if iterations < MinScramIterations || iterations > MaxScramIterations {
		return Credentials{}, Errorf(StatusBadRequest, "%d iterations are outside %d to %d", iterations, MinScramIterations, MaxScramIterations)
	}
	return deriveCredentials(PreparePassword(password), salt, iterations)
}

// deriveCredentials hashes a prepared password, whatever it is.
func deriveCredentials(prepared string, salt []byte, iterations int) (Credentials, error) {
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return Credentials{}, Errorf(StatusServerError, "the password can't be hashed: %v", err)
	}
	stored := sha256.Sum256(scramMAC(salted, "Client Key"))
	return Credentials{Salt: salt, Iterations: iterations, StoredKey: stored[:], ServerKey: scramMAC(salted, "Server Key")}, nil
}

// Fits reports whether password is the one that c verifies, in the time that
// hashing takes. A password that preparation makes empty never fits. Others
// are compared as they are: an account may be older than CheckPassword.
func (c Credentials) Fits(password string) bool {
	prepared := PreparePassword(password)
	return prepared != "" && c.fits(prepared)
}

// FitsEmpty reports whether c verifies the empty password, which anybody
// knows. It takes as long as hashing does.
func (c Credentials) FitsEmpty() bool { return c.fits("") }

// EmptyCredentials makes the verifier of the empty password, which no account
// may have: it is for comparison.
func EmptyCredentials(salt []byte, iterations int) (Credentials, error) {
	return deriveCredentials("", salt, iterations)
}

func (c Credentials) fits(prepared string) bool {
	got, err := deriveCredentials(prepared, c.Salt, c.Iterations)
	return err == nil && hmac.Equal(got.StoredKey, c.StoredKey)
}

func scramMAC(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
