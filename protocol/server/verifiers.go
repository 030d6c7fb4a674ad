package server

import (
	"encoding/binary"
	"sync"

	"simpd/protocol"
)

// maxVerifiers is how many verifiers are remembered as checked: at some 16
// octets each, 2 MiB.
const maxVerifiers = 1 << 17

// verifiers remembers which verifiers are known not to be the empty
// password's. Any goroutine may use it.
type verifiers struct {
	mu    sync.Mutex
	sound map[uint64]struct{} // by the first octets of the stored key, which is a hash
}

// needsCheck reports whether nobody has yet seen that c is not the empty
// password's.
func (v *verifiers) needsCheck(c protocol.Credentials) bool {
	if !c.Unchecked {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.sound[verifierKey(c)]
	return !known
}

// remember keeps that c is not the empty password's, in the place of any
// other where there is no room.
func (v *verifiers) remember(c protocol.Credentials) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sound == nil {
		v.sound = make(map[uint64]struct{})
	}
	for k := range v.sound {
		if len(v.sound) < maxVerifiers {
			break
		}
		delete(v.sound, k)
	}
	v.sound[verifierKey(c)] = struct{}{}
}

func verifierKey(c protocol.Credentials) uint64 {
	var first [8]byte
	copy(first[:], c.StoredKey)
	return binary.BigEndian.Uint64(first[:])
}

// isOpen reports whether c verifies the empty password, which nobody may log
// in with. It hashes once for each verifier, which takes milliseconds.
func (s *Server) isOpen(c protocol.Credentials) bool {
	if !s.verifiers.needsCheck(c) {
		return false
	}
	if s.hashing.fitsEmpty(c) {
		return true
	}
	s.verifiers.remember(c)
	return false
}
