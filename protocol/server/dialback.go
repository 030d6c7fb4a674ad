package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"

	"simpd/protocol"
)

// Dialback's nonces.
const (
	nonceSize = 24
	minNonce  = 16
)

// dialbackMechanism authenticates a domain by asking its home server
// (SIMP.md, section 9).
type dialbackMechanism struct {
	s      *session
	domain string
	nonce  []byte
}

func (m *dialbackMechanism) identity() protocol.Client { return protocol.Client{Domain: m.domain} }

func (m *dialbackMechanism) step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if m.nonce == nil {
		return m.start(data)
	}
	if err := m.s.awaitDomainTurn(ctx, m.domain); err != nil {
		return nil, false, err
	}
	slot := m.s.verifySlot(m.domain)
	if !m.s.server.verifySlots.acquire(slot) {
		return nil, false, &protocol.Error{Status: protocol.StatusSlowDown, Text: "too many dialbacks are being looked into", Retry: 5}
	}
	err = m.s.server.config.Federation.Verify(ctx, m.domain, m.s.servedDomain(), m.nonce, data)
	m.s.server.verifySlots.release(slot, err == nil)
	if err == nil {
		return nil, true, nil
	}
	if e := m.s.server.toError(err); e.Status == protocol.StatusUnauthorized {
		return nil, false, m.s.domainAuthFailure(m.domain, "dialback does not prove %s: %s", m.domain, e.Text)
	}
	return nil, false, err // this site could not find out: it is no failure
}

func (m *dialbackMechanism) start(data []byte) (nonce []byte, done bool, err error) {
	if m.domain, err = m.s.parseDomainIdentity(data); err != nil {
		return nil, false, err
	}
	if m.s.server.config.Federation.Policy().RequiresCertificate(m.s.servedDomain(), m.domain) {
		return nil, false, protocol.Errorf(protocol.StatusForbidden, "%s has to prove itself by its certificate: AUTH mech=EXTERNAL", m.domain)
	}
	m.nonce = make([]byte, nonceSize)
	_, _ = rand.Read(m.nonce) // never fails
	return m.nonce, false, nil
}

// handleVerify tells another site whether what it received is this site's
// proof of one of its own domains.
func (s *session) handleVerify(_ context.Context, r *request) error {
	if err := s.checkProof(r); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

func (s *session) checkProof(r *request) error {
	p := s.server.config.Federation
	switch {
	case p == nil:
		return protocol.Errorf(protocol.StatusForbidden, "this site does not deal with others")
	case s.tls == nil:
		return protocol.Errorf(protocol.StatusTLSNeeded, "VERIFY is answered under TLS only: STARTTLS first")
	}
	called, err := domainParam(r, "domain")
	if err != nil {
		return err
	}
	caller, err := domainParam(r, "caller")
	if err != nil {
		return err
	}
	nonce, err := bytesParam(r, "nonce")
	if err != nil {
		return err
	}
	data, err := bytesParam(r, "data")
	if err != nil {
		return err
	}
	if len(nonce) < minNonce {
		return protocol.Errorf(protocol.StatusBadRequest, "nonce has less than %d octets", minNonce)
	}
	if !s.server.isLocalDomain(caller) || !hmac.Equal(data, p.Proof(caller, called, nonce)) {
		return protocol.Errorf(protocol.StatusForbidden, "invalid dialback proof")
	}
	return nil
}

func domainParam(r *request, key string) (string, error) {
	v, ok := r.line.Get(key)
	if !ok {
		return "", protocol.Errorf(protocol.StatusBadRequest, "%s is missing: VERIFY domain=CALLED caller=DOMAIN nonce=BASE64 data=BASE64", key)
	}
	return protocol.ParseDomain(v)
}

func bytesParam(r *request, key string) ([]byte, error) {
	v, ok := r.line.Get(key)
	b, err := base64.StdEncoding.Strict().DecodeString(v)
	if !ok || err != nil {
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is missing, or no base64", key)
	}
	return b, nil
}
