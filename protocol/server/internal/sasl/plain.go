package sasl

import (
	"bytes"
	"context"

	"simpd/protocol"
)

// Plain implements PLAIN (RFC 4616).
type Plain struct {
	server Server
	hasher Hasher
	Account
}

// NewPlain starts PLAIN.
func NewPlain(s Server, h Hasher) *Plain { return &Plain{server: s, hasher: h} }

// Identity returns the user.
func (p *Plain) Identity() protocol.Client { return p.client() }

// Step checks the password.
func (p *Plain) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	parts := bytes.Split(data, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "PLAIN is [authzid] NUL address NUL password")
	}
	p.Account, err = lookupAccount(p.server, string(parts[1]), string(parts[0]))
	if err != nil {
		return nil, false, err
	}
	if err := p.hasher.CheckPassword(ctx, p.server, p.Account, string(parts[2])); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}
