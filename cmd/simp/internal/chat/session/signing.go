package session

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/keyring"
	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// KeyName names the key that this program adds to the user's list.
const KeyName = "simp chat"

// maxSigned limits the signed messages that are kept for retries.
const maxSigned = 1000

// signing signs messages and describes signatures.
type signing struct {
	trust *trust.Trust // used by onMessage's goroutine
	ring  *keyring.Keyring

	ready chan struct{}                      // closed when key is known
	key   atomic.Pointer[ed25519.PrivateKey] // nil: messages are not signed
	added atomic.Bool                        // this program added the key, and the notice of that is to come

	// What was signed, by id: a retry has to have the same octets. Used by
	// startSends only.
	signed map[string]signedMessage
	order  []string
}

// signedMessage holds the octets that were sent under an id.
type signedMessage struct {
	entity []byte
	at     time.Time
}

// beginSigning finds, or makes, the key of this device.
func (s *Session) beginSigning(ring *keyring.Keyring, signs bool) {
	s.signing.ready = make(chan struct{})
	s.signing.signed = make(map[string]signedMessage)
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
			s.signing.added.Store(added)
			s.signing.key.Store(&key)
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
		return m
	}
	key := s.signing.key.Load()
	before, known := s.signing.signed[m.ID]
	switch {
	case known && time.Since(before.at) < protocol.RepeatWindow: // later the recipient has forgotten it, and the time is too old
		m.Entity = before.entity
		return m
	case key == nil:
		return m
	}
	signed, err := s.client.Sign(*key, m)
	if err != nil {
		s.emit(chat.Trouble{Text: fmt.Sprintf("a message is not signed: %v", err)})
		return m
	}
	s.signing.keep(m.ID, signed.Entity)
	return signed
}

// keep remembers a signed message for retries, and forgets old ones.
func (g *signing) keep(id string, entity []byte) {
	now := time.Now()
	for len(g.order) > 0 && (len(g.order) >= maxSigned || now.Sub(g.signed[g.order[0]].at) >= protocol.RepeatWindow) {
		delete(g.signed, g.order[0])
		g.order = g.order[1:]
	}
	if _, again := g.signed[id]; !again {
		g.order = append(g.order, id)
	}
	g.signed[id] = signedMessage{entity, now}
}

// onKeys reacts to a change of keys: the own key may be revoked, and the list
// of another user is remembered, so that no part of it can be hidden later.
func (s *Session) onKeys(n protocol.KeyNotice) {
	select {
	case <-s.signing.ready:
	case <-s.done:
		return
	}
	if n.Address != s.client.CanonicalUser() {
		if head, err := signature.ParseHead(n.Head); err == nil {
			_ = s.signing.ring.SeeHead(trust.Name(n.Address), head)
		}
		s.emit(chat.Trouble{Text: fmt.Sprintf("the keys of %s have changed; /verify shows them", n.Address)})
		return
	}
	if s.signing.added.CompareAndSwap(true, false) {
		return
	}
	s.emit(chat.Trouble{Text: "your list of keys has changed; simp key list shows it"})
	if s.signing.key.Load() == nil {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, requestWait)
		defer cancel()
		if _, err := s.signing.trust.Device(ctx); errors.Is(err, trust.ErrRevoked) {
			s.signing.key.Store(nil)
			s.emit(chat.Trouble{Text: "messages are not signed any more: " + err.Error()})
		}
	})
}

// describe adds what is known of the signature of a message, and hides the
// text if that is bad. accept is to be called when it was shown; nil: the
// message is to be refused, because the session ends.
func (s *Session) describe(m *protocol.Message, arrived chat.Arrived) (described chat.Arrived, accept func()) {
	v := s.signing.trust.Verify(s.ctx, m)
	if v.IsClosing() {
		return arrived, nil
	}
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
