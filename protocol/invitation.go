package protocol

import (
	"crypto/sha256"
	"strings"
)

// NewInvitationCode makes the code of an invitation from AppPasswordOctets
// random octets. It has the form of an app password.
func NewInvitationCode(random []byte) string { return NewAppPassword(random) }

// HashInvitationCode returns what a site keeps of a code. Capitals count as
// small letters, and hyphens and spaces do not count, so that a code can be
// read out and typed.
func HashInvitationCode(code string) []byte {
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(code))
	sum := sha256.Sum256([]byte("SIMP invitation\x00" + plain))
	return sum[:]
}

// InvitationLink returns the address that opens the web chat at base with a
// code.
func InvitationLink(base, code string) string {
	return strings.TrimSuffix(base, "/") + "/#join=" + code
}
