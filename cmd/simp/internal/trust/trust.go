// Package trust signs a person's messages with the key of this device, and
// decides what is said of the signatures of received ones.
package trust

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"simpd/cmd/simp/internal/keyring"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// Errors of Device.
var (
	errNotInList = errors.New("the key of this device is not in your list; simp key add adds it")
	ErrRevoked   = errors.New("the key of this device was revoked")

	errOtherDevices = errors.New("other devices of yours have keys, and this one has none; let one of them vouch for it (simp key code), or add its key (simp key add)")
)

// Trust joins a connection and a keyring of one user. Its methods may be
// called by one goroutine at a time.
type Trust struct {
	client *client.Client
	ring   *keyring.Keyring
}

// New returns the Trust of the user of c.
func New(c *client.Client, ring *keyring.Keyring) *Trust { return &Trust{c, ring} }

// Name returns the form of an address under which keys are kept.
func Name(a protocol.Address) string {
	folded, _ := a.PRECISFold()
	return folded.String()
}

// Device returns the private key of this device, if others can verify it: if
// it is in the user's list and not revoked.
func (t *Trust) Device(ctx context.Context) (ed25519.PrivateKey, error) {
	key, err := t.ring.Device()
	if err != nil {
		return nil, err
	}
	list, err := t.client.Keys(ctx)
	if err != nil {
		return nil, err
	}
	switch k, known := list.Key(idOf(key)); {
	case !known:
		return nil, errNotInList
	case k.RevokedAs != 0:
		return nil, ErrRevoked
	}
	return key, nil
}

// EnsureDevice is Device, but makes a key and adds it to the user's list under
// that name if this device has none. added reports that it did. It adds none
// beside live keys of other devices, one of which may vouch for this one.
func (t *Trust) EnsureDevice(ctx context.Context, name string) (key ed25519.PrivateKey, added bool, err error) {
	key, err = t.Device(ctx)
	if !errors.Is(err, keyring.ErrNoDevice) && !errors.Is(err, errNotInList) {
		return key, false, err
	}
	list, err := t.client.FreshKeysOf(ctx, t.client.CanonicalUser())
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(list.Keys(), func(k signature.Key) bool { return k.RevokedAs == 0 }) {
		if key, err = t.ring.Device(); err == nil {
			if k, known := list.Key(idOf(key)); known && k.RevokedAs == 0 { // the node lagged behind
				return key, false, nil
			}
		}
		return nil, false, errOtherDevices
	}
	if key, _, err = t.ring.EnsureDevice(); err != nil {
		return nil, false, err
	}
	return key, true, t.AddKey(ctx, key.Public().(ed25519.PublicKey), name, nil)
}

// AddKey adds a key to the user's list. If the connection was lost meanwhile,
// the key may be there already, which is no error.
func (t *Trust) AddKey(ctx context.Context, key ed25519.PublicKey, name string, by ed25519.PrivateKey) error {
	_, err := t.client.AddKey(ctx, key, name, by)
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusBadRequest {
		list, failed := t.client.FreshKeysOf(ctx, t.client.CanonicalUser())
		if failed == nil {
			if k, known := list.Key(signature.KeyID(key)); known && k.RevokedAs == 0 {
				return nil
			}
		}
	}
	return err
}

func idOf(key ed25519.PrivateKey) string { return signature.KeyID(key.Public().(ed25519.PublicKey)) }

// Verdict tells what is known of the writer of a message.
type Verdict struct {
	signature.Verdict
	list            *signature.KeyList
	Verified        bool // the key's fingerprint was compared
	hasSignedBefore bool // the sender's messages had signatures before
}

// Verify returns the verdict on a message.
func (t *Trust) Verify(ctx context.Context, m *protocol.Message) Verdict {
	known, err := t.ring.Contact(Name(m.From))
	if err != nil && signature.HasSignature(m.Entity) {
		return Verdict{Verdict: signature.Verdict{State: signature.Unverified, Err: err}}
	}
	v := Verdict{hasSignedBefore: len(known.Accepted) > 0}
	v.Verdict, v.list = t.client.Verify(ctx, m, known.Knowledge())
	v.Verified = known.IsVerified(v.KeyID)
	return v
}

// IsClosing reports whether the message could not be verified because the
// client is being closed: it is to be refused.
func (v Verdict) IsClosing() bool { return errors.Is(v.Err, client.ErrClosed) }

// Accept remembers the key of a message that was shown as signed, or as signed
// with a new key. The next message with that key is not shown as new again.
func (t *Trust) Accept(m *protocol.Message, v Verdict) error {
	if v.KeyID == "" {
		return nil
	}
	return t.ring.Accept(Name(m.From), v.KeyID, v.list.Head())
}

// Mark returns what is said of a message beside its sender.
func (v Verdict) Mark() string {
	switch {
	case v.State == signature.Signed && v.Verified:
		return "signed, verified"
	case v.State == signature.Signed:
		return "signed"
	case v.State == signature.NewKey:
		return "signed with a new key, " + signature.Fingerprint(v.KeyID)
	case v.State == signature.Bad:
		return "bad signature"
	case v.State == signature.Unverified:
		return "not verified"
	case v.hasSignedBefore:
		return "unsigned, unlike before"
	}
	return "unsigned"
}

// Reason returns why a signature is bad or not verified; "" if it is neither.
func (v Verdict) Reason() string {
	if v.Err == nil {
		return ""
	}
	return v.Err.Error()
}

// IsBad reports whether the text is to be shown only on request.
func (v Verdict) IsBad() bool { return v.State == signature.Bad }

// Fingerprints describes the keys of this device and of another user, a line
// each.
func (t *Trust) Fingerprints(ctx context.Context, user protocol.Address) (lines []string, err error) {
	if key, err := t.ring.Device(); err == nil {
		lines = append(lines, "your fingerprint on this device: "+signature.Fingerprint(idOf(key)))
	}
	list, err := t.client.KeysOf(ctx, user)
	if err != nil {
		return nil, err
	}
	known, err := t.ring.Contact(Name(user))
	if err != nil {
		return nil, err
	}
	for _, k := range list.Keys() {
		line := fmt.Sprintf("%s: %s", user, signature.Fingerprint(k.ID))
		if k.Name != "" {
			line += ", " + k.Name
		}
		switch {
		case k.RevokedAs != 0:
			line += ", revoked"
		case known.IsVerified(k.ID):
			line += ", verified"
		}
		lines = append(lines, line)
	}
	if len(list.Keys()) == 0 {
		lines = append(lines, fmt.Sprintf("%s has no keys, or takes no messages from you", user))
	}
	return lines, nil
}

// MarkVerified remembers that the fingerprint of a user's key was compared. It
// fails if the user has no key with that fingerprint, or if their list is not
// the one that was seen before.
func (t *Trust) MarkVerified(ctx context.Context, user protocol.Address, fingerprint string) error {
	list, err := t.client.FreshKeysOf(ctx, user)
	if err != nil {
		return err
	}
	known, err := t.ring.Contact(Name(user))
	if err != nil {
		return err
	}
	for _, head := range known.Knowledge().Heads {
		if !list.Extends(head) {
			return fmt.Errorf("the server of %s rewrote their list of keys; ask them by other means, and see simp key forget", user)
		}
	}
	for _, k := range list.Keys() {
		if k.RevokedAs == 0 && normalize(signature.Fingerprint(k.ID)) == normalize(fingerprint) {
			return t.ring.Verify(Name(user), k.ID, list.Head())
		}
	}
	return fmt.Errorf("%s has no key with the fingerprint %s; if it was typed right, do not trust a key that claims to be this one", user, fingerprint)
}

// normalize returns a fingerprint as people may type it: without hyphens and
// spaces, and with the digits that letters were taken for.
func normalize(fingerprint string) string {
	return strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(fingerprint))
}
