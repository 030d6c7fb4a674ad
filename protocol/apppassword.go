package protocol

import (
	"crypto/subtle"
	"errors"
	"strings"
	"time"
)

// AppPassword describes an additional password of a user, for one device or
// program (SIMP.md, section 4).
type AppPassword struct {
	ID      uint64
	Name    string // at most MaxNote octets
	Created time.Time
	Until   time.Time // when it ends; zero: never
	Used    time.Time // the day of the last login with it; zero: never
}

// AppVerifier verifies an app password. Salt and iteration count are those of
// the account's own password.
type AppVerifier struct {
	ID        uint64
	StoredKey []byte
	ServerKey []byte
}

// ErrOtherSalt is wrapped by errors that report that a new password does not
// share its salt with the user's other passwords, because these have changed
// meanwhile.
var ErrOtherSalt = errors.New("the passwords of the user have another salt now")

// The form of app passwords: groups of characters that no one mistakes for
// others, with five random bits each.
const (
	appPasswordAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	appPasswordGroup    = 4

	// AppPasswordOctets is the number of random octets of an app password, of
	// which five bits each are used: 140 bits.
	AppPasswordOctets = 28
)

// NewAppPassword makes an app password from AppPasswordOctets random octets.
func NewAppPassword(random []byte) string {
	var b strings.Builder
	for i, octet := range random {
		if i > 0 && i%appPasswordGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(appPasswordAlphabet[octet%byte(len(appPasswordAlphabet))])
	}
	return b.String()
}

// HasAppPasswordForm reports whether a password has the form of an app
// password, so that it is certainly nobody's password elsewhere.
func HasAppPasswordForm(password string) bool {
	if len(password) != AppPasswordOctets+AppPasswordOctets/appPasswordGroup-1 {
		return false
	}
	for i := range len(password) {
		if separates := i%(appPasswordGroup+1) == appPasswordGroup; separates != (password[i] == '-') ||
			!separates && strings.IndexByte(appPasswordAlphabet, password[i]) < 0 {
			return false
		}
	}
	return true
}

// StoredKeyOf returns the stored key that password has with c's salt and
// iteration count. It takes milliseconds on purpose. It returns nil for a
// password that preparation makes empty, which is nobody's.
func (c Credentials) StoredKeyOf(password string) []byte {
	prepared := PreparePassword(password)
	got, err := deriveCredentials(prepared, c.Salt, c.Iterations)
	if err != nil || prepared == "" {
		return nil
	}
	return got.StoredKey
}

// FindKey reports whether one of the user's passwords has that stored key,
// and returns the app password that it is; nil: the account's own. The time
// does not depend on which it is.
func (c Credentials) FindKey(storedKey []byte) (app *AppVerifier, found bool) {
	found = subtle.ConstantTimeCompare(storedKey, c.StoredKey) == 1
	for i := range c.AppPasswords {
		if subtle.ConstantTimeCompare(storedKey, c.AppPasswords[i].StoredKey) == 1 && !found {
			app, found = &c.AppPasswords[i], true
		}
	}
	return app, found
}
