package server

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"simpd/protocol"
)

// authExchange is an unanswered AUTH.
type authExchange struct {
	mechanism
	tag       string
	octets    int
	startedAt time.Time
}

// mechanism is a SASL mechanism (RFC 4422). In each the client sends the
// first message.
type mechanism interface {
	// step processes a message of the client. done reports that it is
	// authenticated. It may block until ctx ends.
	step(ctx context.Context, data []byte) (answer []byte, done bool, err error)
	// identity returns who was authenticated: a user with a credential, or a
	// domain. It is called after done.
	identity() protocol.Client
}

// The names of the mechanisms.
const (
	mechPlus  = "SCRAM-SHA-256-PLUS"
	mechScram = "SCRAM-SHA-256"
	mechPlain = "PLAIN"

	mechExternal = "EXTERNAL"
	mechDialback = "DIALBACK"
)

// offeredMechanisms returns the mechanisms offered now, best first.
func (s *session) offeredMechanisms() []string {
	offered := []string{mechScram}
	if s.channelBinding().IsSupported() {
		offered = []string{mechPlus, mechScram}
	}
	if s.allowsPlain() {
		offered = append(offered, mechPlain)
	}
	if s.acceptsFederation() && s.hasClientCertificate() {
		offered = append(offered, mechExternal)
	}
	if s.acceptsFederation() {
		offered = append(offered, mechDialback)
	}
	return offered
}

// allowsPlain reports whether a password may be sent: with TLS, or on an
// insecure loopback server.
func (s *session) allowsPlain() bool { return s.tls != nil || s.server.config.Insecure }

// channelBinding returns the tls-exporter channel binding (RFC 9266), if
// there is one.
func (s *session) channelBinding() scram.ChannelBinding {
	if s.tls == nil {
		return scram.ChannelBinding{}
	}
	state := s.tls()
	b, err := scram.NewTLSExporterBinding(&state)
	if err != nil { // TLS 1.2 without extended master secret has none
		return scram.ChannelBinding{}
	}
	return b
}

// newMechanism starts a mechanism by name.
func (s *session) newMechanism(name string) (mechanism, error) {
	switch strings.ToUpper(name) {
	case mechPlus:
		if b := s.channelBinding(); b.IsSupported() {
			return newScram(s, b, true), nil
		}
	case mechScram:
		return newScram(s, s.channelBinding(), false), nil
	case mechPlain:
		if !s.allowsPlain() {
			return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only: STARTTLS first")
		}
		return &plainMechanism{s: s}, nil
	case mechExternal, mechDialback:
		return s.newDomainMechanism(strings.ToUpper(name))
	}
	return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", protocol.Quote(name))
}

// newDomainMechanism starts a mechanism by which another site authenticates.
func (s *session) newDomainMechanism(name string) (mechanism, error) {
	switch {
	case s.server.config.Federation == nil:
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", name)
	case s.tls == nil:
		return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a domain is proved under TLS only: STARTTLS first")
	case !s.acceptsFederation():
		return nil, protocol.Errorf(protocol.StatusForbidden, "%s does not deal with other sites", s.servedDomain())
	case name == mechDialback:
		return &dialbackMechanism{s: s}, nil
	case !s.hasClientCertificate():
		return nil, protocol.Errorf(protocol.StatusForbidden, "no certificate was shown: EXTERNAL wants one")
	}
	return &externalMechanism{s: s}, nil
}

// saslAccount is the account that a proof is checked against.
type saslAccount struct {
	user        protocol.Address
	credentials protocol.Credentials
	known       bool
}

func (a *saslAccount) client() protocol.Client {
	return protocol.Client{User: a.user, Credential: a.credentials.Index}
}

// lookupAccount looks up an account by the name and the authorization
// identity of the client. An invalid name belongs to nobody.
func (s *session) lookupAccount(name, authorization string) (saslAccount, error) {
	user, err := s.server.parseAddress(name)
	if err != nil {
		user = protocol.Address{}
	}
	if authorization != "" && authorization != name {
		other, err := s.server.parseAddress(authorization)
		if err != nil || other != user {
			return saslAccount{}, protocol.Errorf(protocol.StatusForbidden, "the authorization identity is another's")
		}
	}
	if err := s.checkLoginLimits(s.userAttempt(user)); err != nil {
		return saslAccount{}, err
	}
	c, known := s.server.config.Backend.Credentials(user)
	return saslAccount{user, c, known && !c.Disabled}, nil
}

// plainMechanism implements PLAIN (RFC 4616).
type plainMechanism struct {
	s *session
	saslAccount
}

func (p *plainMechanism) identity() protocol.Client { return p.client() }

func (p *plainMechanism) step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	parts := bytes.Split(data, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "PLAIN is [authzid] NUL address NUL password")
	}
	p.saslAccount, err = p.s.lookupAccount(string(parts[1]), string(parts[0]))
	if err != nil {
		return nil, false, err
	}
	if err := p.s.checkPassword(ctx, p.saslAccount, string(parts[2])); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// scramMechanism implements SCRAM-SHA-256 (RFC 5802, RFC 7677), with or
// without channel binding.
type scramMechanism struct {
	s            *session
	conversation *scram.ServerConversation
	loadErr      error // why the account could not be looked up
	started      bool  // the client's first message has arrived
	nonBlocking  bool  // its proof must not block
	saslAccount
}

func newScram(s *session, b scram.ChannelBinding, plus bool) *scramMechanism {
	m := &scramMechanism{s: s}
	server, _ := scram.SHA256.NewServer(m.loadCredentials) // never fails
	if plus {
		m.conversation = server.NewConversationWithChannelBindingRequired(b)
	} else {
		m.conversation = server.NewConversationWithChannelBinding(b)
	}
	return m
}

func (m *scramMechanism) identity() protocol.Client { return m.client() }

// loadCredentials is called within the first step.
func (m *scramMechanism) loadCredentials(name string) (scram.StoredCredentials, error) {
	m.saslAccount, m.loadErr = m.s.lookupAccount(name, m.conversation.AuthzID())
	c := m.credentials
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations},
		StoredKey:  c.StoredKey, ServerKey: c.ServerKey,
	}, m.loadErr
}

func (m *scramMechanism) step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	switch {
	case !m.started && !hasNonce(string(data)):
		return nil, false, errInvalidScram
	case m.started:
		if err := m.admitProof(ctx); err != nil {
			return nil, false, err
		}
	}
	m.started = true
	out, err := m.conversation.Step(string(data))
	switch {
	case m.loadErr != nil:
		return nil, false, m.loadErr
	case err != nil && (out == "" || out == scram.ErrInvalidEncoding || out == scram.ErrInvalidUsernameEncoding):
		return nil, false, errInvalidScram
	case err == nil && !m.conversation.Done():
		return []byte(out), false, nil
	case err != nil || !m.conversation.Valid() || !m.known || m.hasEmptyPassword():
		return nil, false, m.s.authFailure(m.user)
	}
	return []byte(out), true, nil
}

// admitProof checks the limits on failed logins again, because others may
// have failed since the challenge.
func (m *scramMechanism) admitProof(ctx context.Context) error {
	if m.nonBlocking {
		return m.s.checkLoginLimits(m.s.userAttempt(m.user))
	}
	return m.s.awaitTurn(ctx, m.s.userAttempt(m.user))
}

// hasEmptyPassword reports whether the account has an empty password, so that
// the client has proved nothing.
func (m *scramMechanism) hasEmptyPassword() bool {
	open := m.s.server.verifiesEmpty(m.credentials)
	if open {
		m.s.server.config.Logger.Warn("an account has an empty password and is closed until it gets another", "user", m.user)
	}
	return open
}

var errInvalidScram = &protocol.Error{Status: protocol.StatusBadRequest, Text: "invalid SCRAM message"}

// maxNonce limits the client's nonce in octets. RFC 5802 has no limit; common
// clients send 24 to 48.
const maxNonce = 256

// hasNonce reports whether the client's first message has a nonce as in RFC
// 5802, section 7: printable ASCII without commas, at least one character.
func hasNonce(first string) bool {
	fields := strings.Split(first, ",")
	if len(fields) < 4 {
		return false
	}
	nonce, ok := strings.CutPrefix(fields[3], "r=")
	return ok && nonce != "" && len(nonce) <= maxNonce && !strings.ContainsFunc(nonce, isNotPrintable)
}

func isNotPrintable(r rune) bool { return r < 0x21 || r > 0x7e }
