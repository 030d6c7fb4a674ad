package sasl

import (
	"bytes"
	"context"
	"errors"

	"simpd/protocol"
)

// Plain implements PLAIN (RFC 4616).
type Plain struct {
	server Server
	hasher Hasher
	proved *ProvedPasswords
	Account
}

// NewPlain starts PLAIN.
func NewPlain(s Server, h Hasher, p *ProvedPasswords) *Plain {
	return &Plain{server: s, hasher: h, proved: p}
}

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
	if err := p.checkPassword(ctx, string(parts[2])); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// checkPassword checks the password in its turn, and finds out which of the
// user's passwords it is. It hashes it only if it was not proved before.
func (p *Plain) checkPassword(ctx context.Context, password string) error {
	if err := p.server.AwaitTurn(ctx, p.User); err != nil {
		return err
	}
	if p.Credentials.AsksSources {
		return p.askSources(ctx, password)
	}
	storedKey, err := p.hasher.findPassword(p.server, p.Account, password, p.proved)
	if err != nil {
		return err
	}
	p.app, _ = p.Credentials.FindKey(storedKey)
	return nil
}

// askSources has the account sources decide, unless it is an app password.
func (p *Plain) askSources(ctx context.Context, password string) error {
	fits, err := p.matchLocally(password)
	if err != nil || p.app != nil {
		return err
	}
	verified, err := p.server.AskSources(ctx, p.User, password, fits)
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Status == protocol.StatusUnauthorized {
		return fail(p.server, p.User)
	}
	if err == nil && !verified.User.IsZero() {
		p.verified = &verified
	}
	return err
}

// matchLocally reports whether it is a password that the table has. It hashes
// the password also where there is none to compare it with: how long that takes
// must not tell accounts of sources from unknown users.
func (p *Plain) matchLocally(password string) (fits bool, err error) {
	storedKey, fits, err := p.hasher.matchPassword(p.server, p.Account, password, p.proved)
	if fits {
		p.app, _ = p.Credentials.FindKey(storedKey)
	}
	return fits, err
}
