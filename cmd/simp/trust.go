package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"simpd/cmd/simp/internal/keyring"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// signMessage signs a message with the key of this device, if others can
// verify it: if it is in the user's list.
func (a *app) signMessage(ctx context.Context, c *client.Client, m client.Message) (client.Message, error) {
	ring, err := a.openKeyring()
	if err != nil {
		return m, err
	}
	key, err := ring.Device()
	if err != nil {
		return m, err
	}
	list, err := c.Keys(ctx)
	if err != nil {
		return m, err
	}
	switch k, known := list.Key(signature.KeyID(key.Public().(ed25519.PublicKey))); {
	case !known:
		return m, errors.New("the key of this device is not in your list; simp key add adds it")
	case k.RevokedAs != 0:
		return m, errors.New("the key of this device was revoked")
	}
	return c.Sign(key, m)
}

// trust decides what is said of the signatures of received messages, and
// remembers the keys that it has accepted.
type trust struct {
	client *client.Client
	ring   *keyring.Keyring
}

// verdict is what is known of who wrote a message.
type verdict struct {
	signature.Verdict
	list            *signature.KeyList
	verified        bool // the key's fingerprint was compared
	hasSignedBefore bool // the sender's messages had signatures before
}

// verify returns the verdict on a message.
func (t *trust) verify(ctx context.Context, m *protocol.Message) verdict {
	known, err := t.ring.Contact(canonicalName(m.From))
	if err != nil {
		return verdict{Verdict: signature.Verdict{State: signature.Bad, Err: err}}
	}
	v := verdict{hasSignedBefore: len(known.Accepted) > 0}
	v.Verdict, v.list = t.client.Verify(ctx, m, known.Knowledge())
	v.verified = known.IsVerified(v.KeyID)
	return v
}

// accept remembers the key of a message that was shown as signed, or as signed
// with a new key. The next message with that key is not shown as new again.
func (t *trust) accept(m *protocol.Message, v verdict) error {
	if v.KeyID == "" {
		return nil
	}
	return t.ring.Accept(canonicalName(m.From), v.KeyID, v.list.Head())
}

// mark returns what a line says of a message after its sender. Messages
// without a signature of people who never sign have none.
func (v verdict) mark() string {
	switch {
	case v.State == signature.Signed && v.verified:
		return " (signed, verified)"
	case v.State == signature.Signed:
		return " (signed)"
	case v.State == signature.NewKey:
		return fmt.Sprintf(" (signed with a new key, %s)", signature.Fingerprint(v.KeyID))
	case v.State == signature.Bad:
		return " (bad signature)"
	case v.hasSignedBefore:
		return " (unsigned)"
	}
	return ""
}

// reason returns why a signature is bad; "" if it is not.
func (v verdict) reason() string {
	if v.Err == nil {
		return ""
	}
	return v.Err.Error()
}
