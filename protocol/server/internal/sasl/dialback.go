package sasl

import (
	"context"
	"crypto/rand"
	"errors"

	"simpd/protocol"
)

// nonceSize is the size of a dialback's nonce in octets.
const nonceSize = 24

// Dialback authenticates a domain by asking its home server (SIMP.md, section
// 9).
type Dialback struct {
	domains Domains
	slots   *VerifySlots
	source  Source
	domain  string
	nonce   []byte
}

// NewDialback starts DIALBACK for a client at that source. Its verification
// takes one of the slots.
func NewDialback(d Domains, slots *VerifySlots, source Source) *Dialback {
	return &Dialback{domains: d, slots: slots, source: source}
}

// Identity returns the domain.
func (m *Dialback) Identity() protocol.Client { return protocol.Client{Domain: m.domain} }

// Step sends a nonce, and then verifies the proof.
func (m *Dialback) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if m.nonce == nil {
		return m.start(data)
	}
	if err := m.domains.AwaitTurn(ctx, m.domain); err != nil {
		return nil, false, err
	}
	slot := m.source.slot(m.domain)
	if !m.slots.acquire(slot) {
		return nil, false, &protocol.Error{Status: protocol.StatusSlowDown, Text: "too many dialbacks are being looked into", Retry: 5}
	}
	err = m.domains.Verify(ctx, m.domain, m.nonce, data)
	m.slots.release(slot, err == nil)
	if err == nil {
		return nil, true, nil
	}
	var e *protocol.Error
	if errors.As(err, &e) && e.Status == protocol.StatusUnauthorized {
		return nil, false, failDomain(m.domains, m.domain, "dialback does not prove %s: %s", m.domain, e.Text)
	}
	return nil, false, err // this site could not find out: it is no failure
}

func (m *Dialback) start(data []byte) (nonce []byte, done bool, err error) {
	if m.domain, err = m.domains.ParseIdentity(data); err != nil {
		return nil, false, err
	}
	if m.domains.RequiresCertificate(m.domain) {
		return nil, false, protocol.Errorf(protocol.StatusForbidden, "%s has to prove itself by its certificate: AUTH mech=EXTERNAL", m.domain)
	}
	m.nonce = make([]byte, nonceSize)
	_, _ = rand.Read(m.nonce) // never fails
	return m.nonce, false, nil
}
