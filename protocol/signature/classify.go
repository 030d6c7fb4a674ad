package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State classifies a message by its signature.
type State int

// The states of a message (SIMP.md, section 15).
const (
	// Unsigned: the message has no signature.
	Unsigned State = iota
	// Signed: a live key of the sender signed it, for this recipient and time.
	Signed
	// NewKey: as Signed, but the recipient knows other keys of the sender, and
	// none of them vouches for this one.
	NewKey
	// Bad: the message has a signature that proves nothing.
	Bad
	// Unverified: the message has a signature, and the sender's keys could not
	// be fetched. Classify never returns it.
	Unverified
)

// String returns the state as people read it.
func (s State) String() string {
	switch s {
	case Unsigned:
		return "unsigned"
	case Signed:
		return "signed"
	case NewKey:
		return "new key"
	case Unverified:
		return "not verified"
	}
	return "bad"
}

// Reasons for a bad signature that an older copy of the sender's list may
// cause: a caller that is not sure to have the newest asks for it.
var (
	ErrRewritten  = errors.New("the sender's server rewrote their list of keys")
	ErrUnknownKey = errors.New("the key is not one of the sender's")
)

// MaxSkew limits the difference between the time in a signature and the message's.
const MaxSkew = 300 * time.Second

// Message is a message as its recipient received it.
type Message struct {
	From      string    // as the server named the sender
	Recipient string    // the user whose client received it
	ID        string    // as the server named the message
	Time      time.Time // when the recipient's site took it
	Entity    []byte
	// SameUser reports whether two addresses in different forms are those of one
	// user. Nil compares octets.
	SameUser func(a, b string) bool
}

func (m *Message) isSame(a, b string) bool {
	return a == b || m.SameUser != nil && m.SameUser(a, b)
}

// Knowledge holds what a recipient remembers of a sender.
type Knowledge struct {
	// KeyIDs are the keys that the recipient accepted before.
	KeyIDs []string
	// Heads are heads of the sender's list that the recipient saw before.
	Heads []Head
}

// Verdict is the result of Classify.
type Verdict struct {
	State State
	KeyID string // of the key that signed; empty unless Signed or NewKey
	Err   error  // why the state is Bad or Unverified
}

// HasSignature reports whether an entity has a signature field anywhere in its
// header. If it has none, the message is Unsigned, whatever its sender's keys.
func HasSignature(entity []byte) bool {
	_, signed, _ := splitField(entity)
	return signed
}

// SignedBy returns the name of the key that an entity says it is signed with,
// so that the caller knows whether the sender's list needs to be asked for. It
// proves nothing.
func SignedBy(entity []byte) (keyID string, err error) {
	_, keyID, err = ClaimsOf(entity)
	return keyID, err
}

// ClaimsOf returns what the signature of an entity says, and the name of its key.
// It proves nothing.
func ClaimsOf(entity []byte) (c Claims, keyID string, err error) {
	f, signed, err := splitField(entity)
	if err != nil || !signed {
		return c, "", err
	}
	header, _, err := splitCompact(f.value)
	if err != nil {
		return c, "", err
	}
	p, err := decodeProtected(header)
	return p.Claims, p.keyID, err
}

// Check returns why the signature of a message is bad whatever the sender's
// keys are, so that they need not be asked for; nil if they decide, or if the
// message has none.
func Check(m Message) error {
	f, signed, err := splitField(m.Entity)
	if !signed || err != nil {
		return err
	}
	_, _, _, err = m.parse(f)
	return err
}

// parse splits a signature field, and compares what was signed with what the
// server says.
func (m *Message) parse(f field) (p protected, header, sig []byte, err error) {
	if header, sig, err = splitCompact(f.value); err != nil {
		return p, nil, nil, err
	}
	if p, err = decodeProtected(header); err != nil {
		return p, nil, nil, err
	}
	return p, header, sig, p.checkEnvelope(*m)
}

// Classify returns the state of a message. list is the sender's list of keys,
// nil if the sender's server sent none that NewKeyList accepts. The caller
// must have dropped messages that it received in the five minutes before (the
// same sender and id), which is what makes a replay impossible.
func Classify(m Message, list *KeyList, known Knowledge) Verdict {
	f, signed, err := splitField(m.Entity)
	if !signed {
		return Verdict{State: Unsigned}
	}
	if err != nil {
		return Verdict{State: Bad, Err: err}
	}
	keyID, err := verify(m, f, list, known)
	if err != nil {
		return Verdict{State: Bad, Err: err}
	}
	if len(known.KeyIDs) > 0 && !list.IsVouchedFor(keyID, known.KeyIDs) {
		return Verdict{State: NewKey, KeyID: keyID}
	}
	return Verdict{State: Signed, KeyID: keyID}
}

// verify checks all that Signed and NewKey have in common, and returns the key
// that signed.
func verify(m Message, f field, list *KeyList, known Knowledge) (keyID string, err error) {
	p, header, sig, err := m.parse(f)
	if err != nil {
		return "", err
	}
	if list == nil || list.user != m.From {
		return "", errors.New("the sender's keys are not known")
	}
	for _, head := range known.Heads {
		if !list.Extends(head) {
			return "", ErrRewritten
		}
	}
	k, ok := list.Key(p.keyID)
	switch {
	case !ok:
		return "", ErrUnknownKey
	case !k.IsLiveAt(m.Time):
		return "", errors.New("the key was not valid when the message was sent: it was revoked before, or added later")
	case !ed25519.Verify(k.Key, signingInput(header, f.payload), sig):
		return "", errors.New("the signature is not that of the message and the key")
	}
	return p.keyID, nil
}

// splitCompact splits PROTECTED..SIGNATURE.
func splitCompact(value []byte) (header, sig []byte, err error) {
	header, encoded, found := bytes.Cut(value, []byte(".."))
	if !found || len(header) == 0 {
		return nil, nil, errors.New("the signature does not have the form PROTECTED..SIGNATURE")
	}
	sig, err = base64.RawURLEncoding.Strict().DecodeString(string(encoded))
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, nil, errors.New("the signature is not 64 octets in base64url")
	}
	return header, sig, nil
}

// checkEnvelope compares what was signed with what the server says.
func (p *protected) checkEnvelope(m Message) error {
	switch skew := p.Time.Sub(m.Time); {
	case !m.isSame(p.From, m.From):
		return errors.New("the message was signed as another user's")
	case !slices.ContainsFunc(p.To, func(to string) bool { return m.isSame(to, m.Recipient) }):
		return errors.New("the message was signed for other recipients")
	case p.ID != m.ID:
		return errors.New("the message was signed with another id")
	case skew > MaxSkew || skew < -MaxSkew:
		return fmt.Errorf("the message was signed at another time, %s", p.Time.UTC().Format(time.RFC3339))
	}
	return nil
}
