package server

import (
	"context"
	"crypto/hmac"
	"encoding/base64"

	"simpd/protocol"
)

// minNonce is the least size of a dialback's nonce in octets.
const minNonce = 16

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
