package store

import (
	"slices"
	"strings"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// What the log and the snapshots say, in the table's own words and back.

// What is longer or later than these is refused, in octets and in changes.
const (
	maxName    = 256 // of a node, a history, a version
	maxAddress = 512 // the parser's own limit is lower
	maxSalt    = 256
	keySize    = 32 // SHA-256's
	maxIndex   = 1 << 62
)

func validName(s string) bool { return s != "" && len(s) <= maxName }

// validAddress checks only for what would break the table. The proposer has
// parsed the address, and what a later version of the parser allows must not
// make two nodes differ.
func validAddress(s string) bool {
	return len(s) <= maxAddress && strings.LastIndexByte(s, '@') > 0 && !strings.ContainsAny(s, "\x00\r\n")
}

func validVerifier(v *storev1.Verifier) bool {
	return len(v.GetSalt()) > 0 && len(v.GetSalt()) <= maxSalt && v.GetIterations() > 0 &&
		len(v.GetStoredKey()) == keySize && len(v.GetServerKey()) == keySize
}

func verifierFromProto(v *storev1.Verifier) Verifier {
	octets := slices.Concat(v.GetSalt(), v.GetStoredKey(), v.GetServerKey())
	n := len(v.GetSalt())
	return Verifier{octets[:n:n], v.GetIterations(), octets[n : n+keySize : n+keySize], octets[n+keySize:]}
}

// SessionFromProto returns the session that p names.
func SessionFromProto(p *storev1.Session) Session {
	return Session{p.GetNode(), p.GetEpoch(), p.GetNumber()}
}

// stateFromProto returns Deaf if s is not a state of a listener.
func stateFromProto(s storev1.State) protocol.State {
	switch s {
	case storev1.State_STATE_AVAILABLE:
		return protocol.Available
	case storev1.State_STATE_BUSY:
		return protocol.Busy
	case storev1.State_STATE_AWAY:
		return protocol.Away
	}
	return protocol.Deaf
}

func ruleFromProto(c *storev1.SetRule) (Rule, bool) {
	message, ok1 := permissionFromProto(c.GetMessage())
	presence, ok2 := permissionFromProto(c.GetPresence())
	return Rule{
		Who: protocol.CanonicalPattern(c.GetPattern()), Message: message, Presence: presence,
		Original: protocol.CanonicalPattern(c.GetWritten()),
	}, ok1 && ok2 && c.GetPattern() != "" && len(c.GetPattern()) <= maxAddress && len(c.GetWritten()) <= maxAddress
}

func permissionFromProto(p storev1.Permission) (protocol.Permission, bool) {
	switch p {
	case storev1.Permission_PERMISSION_UNSPECIFIED:
		return protocol.Unset, true
	case storev1.Permission_PERMISSION_ALLOW:
		return protocol.Allow, true
	case storev1.Permission_PERMISSION_DENY:
		return protocol.Deny, true
	}
	return protocol.Unset, false
}

func contactFromProto(c *storev1.SetContact) (Contact, bool) {
	return Contact{Address: protocol.CanonicalAddress(c.GetAddress()), Name: c.GetName()},
		validAddress(c.GetAddress()) && len(c.GetName()) <= protocol.MaxNote
}

func comparePattern(r Rule, pattern string) int { return strings.Compare(r.Who.String(), pattern) }

func compareContact(c Contact, address string) int {
	return strings.Compare(c.Address.String(), address)
}

// setList sets a user's list; an empty list is removed.
func setList[T any](lists *orderedMap[[]T], owner string, list []T) {
	if len(list) == 0 {
		lists.delete(owner)
		return
	}
	lists.set(owner, list)
}
