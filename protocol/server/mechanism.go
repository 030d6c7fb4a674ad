package server

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"simpd/protocol"
)

// login is an AUTH that is not answered.
type login struct {
	mechanism
	tag    string
	octets int
	begun  time.Time
}

// mechanism is a way to prove who one is (RFC 4422). In each the client begins.
type mechanism interface {
	// next takes what the client says. done: it has proved who it is. It may
	// wait until ctx ends.
	next(ctx context.Context, data []byte) (answer []byte, done bool, err error)
	// proof is who was proved: a user, by a credential, or a domain; after
	// done.
	proof() protocol.Client
}

// The names of the mechanisms.
const (
	mechPlus  = "SCRAM-SHA-256-PLUS"
	mechScram = "SCRAM-SHA-256"
	mechPlain = "PLAIN"

	mechExternal = "EXTERNAL"
	mechDialback = "DIALBACK"
)

// mechanisms are those offered now, best first.
func (s *session) mechanisms() []string {
	offered := []string{mechScram}
	if s.channelBinding().IsSupported() {
		offered = []string{mechPlus, mechScram}
	}
	if s.mayPlain() {
		offered = append(offered, mechPlain)
	}
	if s.deals() && s.certified() {
		offered = append(offered, mechExternal)
	}
	if s.deals() {
		offered = append(offered, mechDialback)
	}
	return offered
}

// mayPlain reports whether a password may be said: under TLS, or on an insecure
// loopback server.
func (s *session) mayPlain() bool { return s.tls != nil || s.server.config.Insecure }

// channelBinding is tls-exporter's (RFC 9266), where there is one.
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

// mechanism begins one by its name.
func (s *session) mechanism(name string) (mechanism, error) {
	switch strings.ToUpper(name) {
	case mechPlus:
		if b := s.channelBinding(); b.IsSupported() {
			return newScram(s, b, true), nil
		}
	case mechScram:
		return newScram(s, s.channelBinding(), false), nil
	case mechPlain:
		if !s.mayPlain() {
			return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only: STARTTLS first")
		}
		return &plain{s: s}, nil
	case mechExternal, mechDialback:
		return s.domainMechanism(strings.ToUpper(name))
	}
	return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", protocol.Quote(name))
}

// domainMechanism begins one by which another site proves its domain.
func (s *session) domainMechanism(name string) (mechanism, error) {
	switch {
	case s.server.config.Partners == nil:
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", name)
	case s.tls == nil:
		return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a domain is proved under TLS only: STARTTLS first")
	case !s.deals():
		return nil, protocol.Errorf(protocol.StatusForbidden, "%s does not deal with other sites", s.called())
	case name == mechDialback:
		return &dialback{s: s}, nil
	case !s.certified():
		return nil, protocol.Errorf(protocol.StatusForbidden, "no certificate was shown: EXTERNAL wants one")
	}
	return &external{s: s}, nil
}

// account is what a proof is checked against.
type account struct {
	user        protocol.Address
	credentials protocol.Credentials
	known       bool
}

func (a *account) client() protocol.Client {
	return protocol.Client{User: a.user, Credential: a.credentials.Index}
}

// find looks up an account by the name and the authorization identity that
// the client gave. A name that is no address is nobody's.
func (s *session) find(name, authorization string) (account, error) {
	user, err := s.server.parseAddress(name)
	if err != nil {
		user = protocol.Address{}
	}
	if authorization != "" && authorization != name {
		other, err := s.server.parseAddress(authorization)
		if err != nil || other != user {
			return account{}, protocol.Errorf(protocol.StatusForbidden, "the authorization identity is another's")
		}
	}
	if err := s.admit(s.attemptOf(user)); err != nil {
		return account{}, err
	}
	c, known := s.server.config.Backend.Credentials(user)
	return account{user, c, known && !c.Disabled}, nil
}

// plain is RFC 4616.
type plain struct {
	s *session
	account
}

func (p *plain) proof() protocol.Client { return p.client() }

func (p *plain) next(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	parts := bytes.Split(data, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "PLAIN is [authzid] NUL address NUL password")
	}
	p.account, err = p.s.find(string(parts[1]), string(parts[0]))
	if err != nil {
		return nil, false, err
	}
	if err := p.s.checkPassword(ctx, p.account, string(parts[2])); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// scramLogin is SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding or
// without.
type scramLogin struct {
	s            *session
	conversation *scram.ServerConversation
	refused      error // why the account is not looked at
	begun        bool  // the client's first message has come
	atOnce       bool  // its proof must not wait
	account
}

func newScram(s *session, b scram.ChannelBinding, plus bool) *scramLogin {
	m := &scramLogin{s: s}
	server, _ := scram.SHA256.NewServer(m.stored) // there is no error that it could return
	if plus {
		m.conversation = server.NewConversationWithChannelBindingRequired(b)
	} else {
		m.conversation = server.NewConversationWithChannelBinding(b)
	}
	return m
}

func (m *scramLogin) proof() protocol.Client { return m.client() }

// stored is called within the first step.
func (m *scramLogin) stored(name string) (scram.StoredCredentials, error) {
	m.account, m.refused = m.s.find(name, m.conversation.AuthzID())
	c := m.credentials
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations},
		StoredKey:  c.StoredKey, ServerKey: c.ServerKey,
	}, m.refused
}

func (m *scramLogin) next(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	switch {
	case !m.begun && !hasNonce(string(data)):
		return nil, false, errNoScram
	case m.begun:
		if err := m.admitProof(ctx); err != nil {
			return nil, false, err
		}
	}
	m.begun = true
	out, err := m.conversation.Step(string(data))
	switch {
	case m.refused != nil:
		return nil, false, m.refused
	case err != nil && (out == "" || out == scram.ErrInvalidEncoding || out == scram.ErrInvalidUsernameEncoding):
		return nil, false, errNoScram
	case err == nil && !m.conversation.Done():
		return []byte(out), false, nil
	case err != nil || !m.conversation.Valid() || !m.known || m.isOpen():
		return nil, false, m.s.wrongCredentials(m.user)
	}
	return []byte(out), true, nil
}

// admitProof asks the limits of failed logins once more: others may have
// failed since the challenge.
func (m *scramLogin) admitProof(ctx context.Context) error {
	if m.atOnce {
		return m.s.admit(m.s.attemptOf(m.user))
	}
	return m.s.awaitTurn(ctx, m.s.attemptOf(m.user))
}

// isOpen reports whether the account has an empty password. The client has
// then proved nothing.
func (m *scramLogin) isOpen() bool {
	open := m.s.server.isOpen(m.credentials)
	if open {
		m.s.server.config.Logger.Warn("an account has an empty password and is closed until it gets another", "user", m.user)
	}
	return open
}

var errNoScram = &protocol.Error{Status: protocol.StatusBadRequest, Text: "invalid SCRAM message"}

// maxNonce is how many octets of nonce a client may send; RFC 5802 has no
// limit, and common clients send 24 to 48.
const maxNonce = 256

// hasNonce reports whether the client's first message has a nonce as RFC 5802
// writes it (section 7): printable ASCII without commas, at least one.
func hasNonce(first string) bool {
	fields := strings.Split(first, ",")
	if len(fields) < 4 {
		return false
	}
	nonce, ok := strings.CutPrefix(fields[3], "r=")
	return ok && nonce != "" && len(nonce) <= maxNonce && !strings.ContainsFunc(nonce, isNotPrintable)
}

func isNotPrintable(r rune) bool { return r < 0x21 || r > 0x7e }
