package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Limits on a user's list.
const (
	MaxLiveKeys = 16  // keys that are not revoked
	MaxKeys     = 256 // all keys
)

// ByOperator says, in Key.RevokedBy, that an operator of the site revoked the
// key. Operators never add keys.
const ByOperator = "operator"

// Head commits to a list of records and their order: SHA-256 over the head
// before and the newest record. The head of an empty list is zero.
type Head [sha256.Size]byte

// String returns the head as it is on the wire: base64url without padding.
func (h Head) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseHead reads what String wrote.
func ParseHead(s string) (h Head, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.RawURLEncoding.EncodedLen(len(h)) || len(b) != len(h) {
		return h, fmt.Errorf("invalid head: must be %d octets in base64url without padding", len(h))
	}
	return Head(b), nil
}

// Key is a device's public key in a user's list.
type Key struct {
	ID      string // see KeyID
	Key     ed25519.PublicKey
	Name    string // for people; may be empty
	Created time.Time
	// AddedAs is the number, from 1, of the record that added the key.
	AddedAs int

	// By is the ID of the key that proved continuity, and Proof its signature;
	// both are empty if none did.
	By    string
	Proof []byte

	// Index is that of the change that added the key, in the history of the
	// user's home server. The head does not cover it: a restored backup changes
	// it.
	Index uint64

	Revoked   time.Time // zero: the key is live
	RevokedBy string    // ByOperator, or empty: the user
	RevokedAs int       // the number of the record that revoked the key; 0: none
}

// createdLeeway is how much earlier than its key a message may seem to be: a
// device may use a key at once, and the time of the message is from another
// node than that of the key or, between sites, from another site.
const createdLeeway = MaxSkew

// IsLiveAt reports whether the key was in the list at t and not revoked.
func (k *Key) IsLiveAt(t time.Time) bool {
	return !t.Before(k.Created.Add(-createdLeeway)) && (k.Revoked.IsZero() || t.Before(k.Revoked))
}

// NextAfterAdding returns the head that follows h when k, which is not yet
// revoked, is added to the list of user.
func (h Head) NextAfterAdding(user string, k *Key) Head {
	return h.next("add", user, base64.StdEncoding.EncodeToString(k.Key), milliseconds(k.Created), k.Name,
		k.By, base64.StdEncoding.EncodeToString(k.Proof))
}

// NextAfterRevoking returns the head that follows h when k is revoked.
func (h Head) NextAfterRevoking(user string, k *Key) Head {
	return h.next("revoke", user, k.ID, milliseconds(k.Revoked), k.RevokedBy)
}

// next returns the head after a record: SHA-256 over h and the record's
// fields, each followed by NUL. No field contains NUL.
func (h Head) next(fields ...string) Head {
	sum := sha256.New()
	sum.Write(h[:])
	for _, field := range fields {
		sum.Write([]byte(field))
		sum.Write([]byte{0})
	}
	return Head(sum.Sum(nil))
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// KeyList is a user's list of keys, whose records and proofs were verified.
type KeyList struct {
	user  string
	keys  []Key
	heads []Head // after each record; heads[0] is that of the empty list
}

// NewKeyList verifies a list of user as a home server sent it, the keys in any
// order. It returns an error if a key, a proof or the numbers of the records
// are not what they must be, or if the list's head is not head.
func NewKeyList(user string, keys []Key, head Head) (*KeyList, error) {
	l := &KeyList{user: user, keys: slices.Clone(keys)}
	slices.SortFunc(l.keys, func(a, b Key) int { return a.AddedAs - b.AddedAs })
	for i := range l.keys {
		if err := l.checkKey(i); err != nil {
			return nil, err
		}
	}
	heads, err := HeadsOf(user, l.keys)
	if err != nil {
		return nil, err
	}
	l.heads = heads
	got := l.Head()
	if subtle.ConstantTimeCompare(got[:], head[:]) != 1 {
		return nil, errors.New("the head is not that of the keys")
	}
	return l, nil
}

// checkKey checks one key, and its proof of continuity by an earlier one.
func (l *KeyList) checkKey(i int) error {
	k := &l.keys[i]
	if err := CheckKey(k.Key); err != nil {
		return fmt.Errorf("the key of record %d: %w", k.AddedAs, err)
	}
	if k.ID != KeyID(k.Key) {
		return fmt.Errorf("the key of record %d: the name is not that of the key", k.AddedAs)
	}
	if slices.ContainsFunc(l.keys[:i], func(other Key) bool { return other.ID == k.ID }) {
		return fmt.Errorf("key %q: is there twice", k.ID)
	}
	if k.Revoked.IsZero() != (k.RevokedAs == 0) {
		return fmt.Errorf("key %q: the record of the revocation is missing", k.ID)
	}
	if k.By == "" && len(k.Proof) == 0 {
		return nil
	}
	by := slices.IndexFunc(l.keys[:i], func(other Key) bool { return other.ID == k.By })
	if by < 0 || l.keys[by].RevokedAs != 0 && l.keys[by].RevokedAs < k.AddedAs ||
		!VerifyContinuity(l.keys[by].Key, l.user, k.Key, k.Name, k.Proof) {
		return fmt.Errorf("key %q: the proof of continuity is invalid", k.ID)
	}
	return nil
}

// HeadsOf returns the heads of user's list after each record, the first that
// of the empty list. It checks the records' numbers, which must begin at 1 and
// have no gaps, but neither keys nor proofs.
func HeadsOf(user string, keys []Key) ([]Head, error) {
	type record struct {
		key     *Key
		revokes bool
	}
	records := make(map[int]record, 2*len(keys))
	n := 0
	for i := range keys {
		k := &keys[i]
		records[k.AddedAs] = record{key: k}
		n++
		if k.RevokedAs != 0 {
			if k.RevokedAs <= k.AddedAs {
				return nil, fmt.Errorf("key %q: was revoked before it was added", k.ID)
			}
			records[k.RevokedAs] = record{key: k, revokes: true}
			n++
		}
	}
	heads := make([]Head, 1, n+1)
	for i := 1; i <= n; i++ {
		r, ok := records[i]
		head := heads[i-1]
		switch {
		case !ok:
			return nil, fmt.Errorf("record %d of %d is missing", i, n)
		case r.revokes:
			head = head.NextAfterRevoking(user, r.key)
		default:
			head = head.NextAfterAdding(user, r.key)
		}
		heads = append(heads, head)
	}
	return heads, nil
}

// Head returns the head of the list.
func (l *KeyList) Head() Head { return l.heads[len(l.heads)-1] }

// Keys returns all keys, in the order in which they were added.
func (l *KeyList) Keys() []Key { return slices.Clone(l.keys) }

// Key returns the key of this name.
func (l *KeyList) Key(id string) (Key, bool) {
	i := slices.IndexFunc(l.keys, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return l.keys[i], true
}

// Extends reports whether the list had, or has, the head before: whether it is
// that list with nothing but new records at its end. A client that remembers a
// head finds out in this way that a home server rewrote the list.
func (l *KeyList) Extends(before Head) bool { return slices.Contains(l.heads, before) }

// IsVouchedFor reports whether a chain of proofs of continuity leads from one
// of the known keys to the key of this name. The way back doesn't count: a
// home server could add a key of its own and have it vouch for a user's.
func (l *KeyList) IsVouchedFor(id string, known []string) bool {
	for {
		k, ok := l.Key(id)
		if !ok {
			return false
		}
		if slices.Contains(known, k.ID) {
			return true
		}
		id = k.By // an earlier key, or none: this ends
	}
}
