package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"simpd/protocol"
)

// maxProvedPasswords limits the passwords remembered: about 6 MiB.
const maxProvedPasswords = 1 << 15

// tag identifies a user's password in this process.
type tag [sha256.Size]byte

// ProvedPasswords remembers which passwords were proved by PLAIN, so that a
// client that reconnects does not cost the iterations of the hash again. It
// keeps no password: the tags are keyed by random octets of this process, and
// each leads to the stored key that the password had. A password counts as
// proved only while that is the stored key of one of the user's passwords, so
// changed, removed and disabled credentials are hashed again. Wrong passwords
// are never remembered. They always cost the hash, as those of unknown users.
// Any goroutine may use it.
type ProvedPasswords struct {
	key [sha256.Size]byte

	mu     sync.Mutex
	stored map[tag][sha256.Size]byte
}

// NewProvedPasswords returns an empty memory with a key of its own.
func NewProvedPasswords() *ProvedPasswords {
	p := &ProvedPasswords{stored: make(map[tag][sha256.Size]byte)}
	rand.Read(p.key[:]) // never fails
	return p
}

// find returns the stored key of a password that was proved before and is
// still one of the user's. The password itself is looked up by its tag, which
// nobody outside can compute, so the time of the look-up tells nothing of it.
func (p *ProvedPasswords) find(a Account, password string) (storedKey []byte, proved bool) {
	t := p.tagOf(a.User, password)
	p.mu.Lock()
	key, known := p.stored[t]
	p.mu.Unlock()
	if !known {
		return nil, false
	}
	_, fits := a.Credentials.FindKey(key[:])
	return key[:], fits && a.Known
}

// remember records a proved password, replacing an arbitrary entry if there is
// no room.
func (p *ProvedPasswords) remember(user protocol.Address, password string, storedKey []byte) {
	t := p.tagOf(user, password)
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.stored {
		if len(p.stored) < maxProvedPasswords {
			break
		}
		delete(p.stored, other)
	}
	p.stored[t] = [sha256.Size]byte(storedKey)
}

// tagOf returns the tag of a user's password. No address has an octet 0.
func (p *ProvedPasswords) tagOf(user protocol.Address, password string) (t tag) {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write([]byte(user.String()))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(t[:0])
	return t
}
