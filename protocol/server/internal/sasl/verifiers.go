package sasl

import (
	"encoding/binary"
	"sync"

	"simpd/protocol"
)

// maxVerifiers limits the verifiers remembered as checked: 2 MiB at about 16
// octets each.
const maxVerifiers = 1 << 17

// Verifiers remembers which verifiers are known not to belong to the
// empty password. Any goroutine may use it.
type Verifiers struct {
	mu      sync.Mutex
	checked map[uint64]struct{} // by the first octets of the stored key, which is a hash
}

// NeedsCheck reports whether c may belong to the empty password.
func (v *Verifiers) NeedsCheck(c protocol.Credentials) bool {
	if !c.Unchecked {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.checked[verifierKey(c)]
	return !known
}

// remember records that c does not belong to the empty password, replacing an
// arbitrary entry if there is no room.
func (v *Verifiers) remember(c protocol.Credentials) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.checked == nil {
		v.checked = make(map[uint64]struct{})
	}
	for k := range v.checked {
		if len(v.checked) < maxVerifiers {
			break
		}
		delete(v.checked, k)
	}
	v.checked[verifierKey(c)] = struct{}{}
}

func verifierKey(c protocol.Credentials) uint64 {
	var first [8]byte
	copy(first[:], c.StoredKey)
	return binary.BigEndian.Uint64(first[:])
}

// verifiesEmpty reports whether c verifies the empty password, with which
// nobody may log in. It hashes once for each verifier, which takes
// milliseconds.
func (v *Verifiers) verifiesEmpty(c protocol.Credentials, h Hasher) bool {
	if !v.NeedsCheck(c) {
		return false
	}
	if h.fitsEmpty(c) {
		return true
	}
	v.remember(c)
	return false
}
