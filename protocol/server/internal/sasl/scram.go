package sasl

import (
	"bytes"
	"context"
	"log/slog"
	"strings"

	"github.com/xdg-go/scram"

	"simpd/protocol"
)

// Scram implements SCRAM-SHA-256 (RFC 5802, RFC 7677), with or without channel
// binding.
type Scram struct {
	server       Server
	passwords    Passwords
	conversation *scram.ServerConversation
	loadErr      error // why the account could not be looked up
	started      bool  // the client's first message has arrived
	nonBlocking  bool  // its proof must not block
	proof        appProof
	Account
}

// Passwords is what SCRAM needs to find accounts with an empty password.
type Passwords struct {
	Hasher    Hasher
	Verifiers *Verifiers
	Logger    *slog.Logger
}

// NewScram starts SCRAM-SHA-256, or with plus SCRAM-SHA-256-PLUS, which
// requires channel binding.
func NewScram(s Server, p Passwords, b scram.ChannelBinding, plus bool) *Scram {
	m := &Scram{server: s, passwords: p}
	server, _ := scram.SHA256.NewServer(m.loadCredentials) // never fails
	if plus {
		m.conversation = server.NewConversationWithChannelBindingRequired(b)
	} else {
		m.conversation = server.NewConversationWithChannelBinding(b)
	}
	return m
}

// Identity returns the user.
func (m *Scram) Identity() protocol.Client { return m.client() }

// StepBlocks reports whether the step with the client's proof would block: a
// verifier has to be checked, or attempts at the account have to take turns.
// If it returns false, that step does not block.
func (m *Scram) StepBlocks() bool {
	m.nonBlocking = !m.passwords.Verifiers.NeedsCheck(m.Credentials) && !m.server.IsPaced(m.User)
	return !m.nonBlocking
}

// loadCredentials is called within the first step.
func (m *Scram) loadCredentials(name string) (scram.StoredCredentials, error) {
	m.Account, m.loadErr = lookupAccount(m.server, name, m.conversation.AuthzID())
	c := m.proof.replaceable(m.Credentials)
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations},
		StoredKey:  c.StoredKey, ServerKey: c.ServerKey,
	}, m.loadErr
}

// maxScramMessage limits a message of the client, which is hashed as often as
// a user may have passwords. An address whose every octet is escaped, a nonce
// and channel binding take less.
const maxScramMessage = 2048

// Step processes a message of the client.
func (m *Scram) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	switch {
	case len(data) > maxScramMessage, !m.started && !hasNonce(string(data)), m.started && !bytes.HasPrefix(data, []byte("c=")):
		return nil, false, errInvalidScram
	case m.started:
		if err := m.admitProof(ctx); err != nil {
			return nil, false, err
		}
	}
	if m.started {
		m.app = m.proof.selectVerifier(m.Credentials, m.Known, string(data))
	}
	out, err := m.conversation.Step(string(data))
	if !m.started {
		m.proof.begin(string(data), out)
	}
	m.started = true
	switch {
	case m.loadErr != nil:
		return nil, false, m.loadErr
	case err != nil && (out == "" || out == scram.ErrInvalidEncoding || out == scram.ErrInvalidUsernameEncoding):
		return nil, false, errInvalidScram
	case err == nil && !m.conversation.Done():
		return []byte(out), false, nil
	case err != nil || !m.conversation.Valid() || !m.Known || m.app == nil && (m.Credentials.OwnElsewhere || m.hasEmptyPassword()):
		return nil, false, fail(m.server, m.User)
	}
	return []byte(out), true, nil
}

// admitProof checks the limits on failed logins again, because others may
// have failed since the challenge.
func (m *Scram) admitProof(ctx context.Context) error {
	if m.nonBlocking {
		return m.server.CheckLimits(m.User)
	}
	return m.server.AwaitTurn(ctx, m.User)
}

// hasEmptyPassword reports whether the account has an empty password, so that
// the client has proved nothing.
func (m *Scram) hasEmptyPassword() bool {
	open := m.passwords.Verifiers.verifiesEmpty(m.Credentials, m.passwords.Hasher)
	if open {
		m.passwords.Logger.Warn("an account has an empty password and is closed until it gets another", "user", m.User)
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
