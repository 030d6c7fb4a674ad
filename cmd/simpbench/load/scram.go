//go:build linux

package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// Password is the one password of all users of a load. Its verifier, which
// has one salt for all, is made once, so that a login costs the client as
// little as it costs the server. It does what RFC 5802 and RFC 7677 want of a
// client, no less. It may be used by several goroutines.
type Password struct {
	text string
	keys atomic.Pointer[keys] // those used last
}

// keys holds the SCRAM keys derived from a password and a salt.
type keys struct {
	salt                   []byte
	iterations             int
	client, stored, server []byte
}

// iterations is the least that the site takes.
const iterations = 10_000

// NewPassword makes a password, and what verifies it.
func NewPassword() (*Password, error) {
	p := &Password{text: rand.Text()}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	_, err := p.derive(salt, iterations)
	return p, err
}

// Verifier returns what a site keeps of the password.
func (p *Password) Verifier() (salt []byte, iterations int, storedKey, serverKey []byte) {
	k := p.keys.Load()
	return k.salt, k.iterations, k.stored, k.server
}

// derive returns the keys for a salt, which are made only if it is another
// than the last.
func (p *Password) derive(salt []byte, iterations int) (*keys, error) {
	if k := p.keys.Load(); k != nil && iterations == k.iterations && bytes.Equal(salt, k.salt) {
		return k, nil
	}
	salted, err := pbkdf2.Key(sha256.New, p.text, salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the keys: %w", err)
	}
	k := &keys{salt: bytes.Clone(salt), iterations: iterations, client: sign(salted, "Client Key"), server: sign(salted, "Server Key")}
	stored := sha256.Sum256(k.client)
	k.stored = stored[:]
	p.keys.Store(k)
	return k, nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// scram is one login under way.
type scram struct {
	password *Password
	bare     string // the client's first message without its header
	server   []byte // the signature that the server has to show
}

const scramHeader = "n,," // no channel binding, no other identity

// first returns the client's first message, in base64.
func (s *scram) first(user string) string {
	s.bare = "n=" + user + ",r=" + rand.Text()
	return base64.StdEncoding.EncodeToString([]byte(scramHeader + s.bare))
}

// answer returns the client's final message to a challenge, both in base64.
func (s *scram) answer(challenge string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return "", fmt.Errorf("the challenge: %w", err)
	}
	nonce, salt, n, err := parseChallenge(string(b))
	if err != nil {
		return "", err
	}
	k, err := s.password.derive(salt, n)
	if err != nil {
		return "", err
	}
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(scramHeader)) + ",r=" + nonce
	said := s.bare + "," + string(b) + "," + without
	proof := sign(k.stored, said)
	for i := range proof {
		proof[i] ^= k.client[i]
	}
	s.server = sign(k.server, said)
	final := without + ",p=" + base64.StdEncoding.EncodeToString(proof)
	return base64.StdEncoding.EncodeToString([]byte(final)), nil
}

// errChallenge is a challenge that is not SCRAM's.
var errChallenge = errors.New("a challenge without r=, s= and i=")

// parseChallenge reads r=NONCE,s=SALT,i=ITERATIONS.
func parseChallenge(s string) (nonce string, salt []byte, iterations int, err error) {
	parts := strings.Split(s, ",")
	if len(parts) < 3 || !strings.HasPrefix(parts[0], "r=") || !strings.HasPrefix(parts[1], "s=") ||
		!strings.HasPrefix(parts[2], "i=") {
		return "", nil, 0, errChallenge
	}
	if salt, err = base64.StdEncoding.DecodeString(parts[1][2:]); err == nil {
		iterations, err = strconv.Atoi(parts[2][2:])
	}
	if err != nil {
		return "", nil, 0, fmt.Errorf("%w: %w", errChallenge, err)
	}
	return parts[0][2:], salt, iterations, nil
}

// verify checks the server's final message.
func (s *scram) verify(final string) error {
	want := "v=" + base64.StdEncoding.EncodeToString(s.server)
	if got, err := base64.StdEncoding.DecodeString(final); err != nil || string(got) != want {
		return errors.New("the server does not know the password's verifier")
	}
	return nil
}
