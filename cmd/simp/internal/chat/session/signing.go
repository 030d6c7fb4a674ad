package session

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/keyring"
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
)

// KeyName is what a key is called that this program adds to the user's list.
const KeyName = "simp chat"

// maxSigned is how many signed messages are kept for retries.
const maxSigned = 1000

// signing signs messages and describes signatures.
type signing struct {
	trust *trust.Trust // used by onMessage's goroutine
	ring  *keyring.Keyring

	ready chan struct{}      // closed when key is known
	key   ed25519.PrivateKey // nil: messages are not signed

	// What was signed, by id: a retry has to have the same octets. Used by
	// startSends only.
	signed map[string]client.Message
	order  []string
}

// beginSigning finds, or makes, the key of this device.
func (s *Session) beginSigning(ring *keyring.Keyring, signs bool) {
	s.signing.ready = make(chan struct{})
	s.signing.signed = make(map[string]client.Message)
	s.signing.ring = ring
	s.signing.trust = trust.New(s.client, ring)
	if !signs {
		close(s.signing.ready)
		return
	}
	s.wg.Go(func() {
		defer close(s.signing.ready)
		ctx, cancel := context.WithTimeout(s.ctx, requestWait)
		defer cancel()
		key, added, err := trust.New(s.client, ring).EnsureDevice(ctx, KeyName)
		switch {
		case err == nil:
			s.signing.key = key
		case errors.Is(err, client.ErrNotSupported), s.ctx.Err() != nil: // an older server, or the end
		default:
			s.emit(chat.Trouble{Text: "messages are not signed: " + explainSigning(err)})
		}
		if added {
			s.emit(chat.Trouble{Text: "messages are signed from now on, with a new key of this device; simp key list shows your keys"})
		}
	})
}

// explainSigning says for people why messages can't be signed.
func explainSigning(err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusForbidden {
		return "an app password may not add the key of this device; run simp key add once, with your own password"
	}
	return explain(err)
}

// sign signs a message, if messages are signed. A retry gets the octets of the
// first time.
func (s *Session) sign(m client.Message) client.Message {
	select {
	case <-s.signing.ready:
	case <-s.done:
	}
	before, known := s.signing.signed[m.ID]
	switch {
	case known:
		m.Entity = before.Entity
		return m
	case s.signing.key == nil:
		return m
	}
	signed, err := s.client.Sign(s.signing.key, m)
	if err != nil {
		s.emit(chat.Trouble{Text: fmt.Sprintf("a message is not signed: %v", err)})
		return m
	}
	s.signing.signed[m.ID] = signed
	if s.signing.order = append(s.signing.order, m.ID); len(s.signing.order) > maxSigned {
		delete(s.signing.signed, s.signing.order[0])
		s.signing.order = s.signing.order[1:]
	}
	return signed
}

// describe adds what is known of the signature of a message, and hides the
// text if that is bad. accept is to be called when it was shown.
func (s *Session) describe(m *protocol.Message, arrived chat.Arrived) (described chat.Arrived, accept func()) {
	v := s.signing.trust.Verify(s.ctx, m)
	arrived.Signature = v.Mark()
	if v.IsBad() {
		arrived.Hidden, arrived.Text = arrived.Text, fmt.Sprintf("[not shown: %s; /reveal shows it]", v.Reason())
	}
	return arrived, func() {
		if err := s.signing.trust.Accept(m, v); err != nil {
			s.emit(chat.Trouble{Text: fmt.Sprintf("the key of %s could not be remembered: %v", m.From, err)})
		}
	}
}

// verifyKey returns the fingerprints for a conversation, or marks one as
// compared.
func (s *Session) verifyKey(ctx context.Context, r chat.Request) ([]string, error) {
	t := trust.New(s.client, s.signing.ring)
	if r.Name == "" {
		return t.Fingerprints(ctx, r.Address)
	}
	if err := t.MarkVerified(ctx, r.Address, r.Name); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("the key %s of %s is verified", r.Name, r.Address)}, nil
}
