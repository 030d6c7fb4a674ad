// Package sasl implements the SASL mechanisms (RFC 4422) by which users and
// other sites authenticate (protocol/SIMP.md, sections 4 and 9), and the
// hashing of passwords. It knows neither sessions nor lines: what it needs of
// the server, it asks through Server and Domains.
package sasl

import (
	"context"

	"simpd/protocol"
)

// Mechanism is one exchange of a SASL mechanism. In each the client sends the
// first message. One goroutine at a time calls its methods.
type Mechanism interface {
	// Step processes a message of the client. done reports that it is
	// authenticated. It may block until ctx ends.
	Step(ctx context.Context, data []byte) (answer []byte, done bool, err error)
	// Identity returns who was authenticated: a user with a credential, or a
	// domain. It is called after done.
	Identity() protocol.Client
}

// The names of the mechanisms.
const (
	NamePlus  = "SCRAM-SHA-256-PLUS"
	NameScram = "SCRAM-SHA-256"
	NamePlain = "PLAIN"

	NameOAuthBearer = "OAUTHBEARER"

	NameExternal = "EXTERNAL"
	NameDialback = "DIALBACK"
)

// Server is what the mechanisms for users ask the server, on behalf of one
// connection. Only AwaitTurn blocks.
type Server interface {
	// ParseAddress parses an address of one of the site's users.
	ParseAddress(name string) (protocol.Address, error)
	// Credentials returns what an account's password is checked against. For
	// an unknown user it returns credentials that no password matches, and
	// false.
	Credentials(user protocol.Address) (protocol.Credentials, bool)
	// CheckLimits returns an error if too many logins have failed.
	CheckLimits(user protocol.Address) error
	// IsPaced reports whether AwaitTurn would wait.
	IsPaced(user protocol.Address) bool
	// AwaitTurn waits until an attempt at the account may proceed, and then
	// checks the limits.
	AwaitTurn(ctx context.Context, user protocol.Address) error
	// CountFailure counts a failed login.
	CountFailure(user protocol.Address)
	// AskSources asks the account sources of the user's domain about a password
	// that is not an app password; fits reports that it is the one of the table.
	// An error of status 401 means that it is wrong, or that there is no such
	// user. It blocks for seconds at most.
	AskSources(ctx context.Context, user protocol.Address, password string, fits bool) (protocol.VerifiedLogin, error)
	// AskToken asks the account sources whose OAuth token it is. The user is who
	// the client says that it is, or zero. Errors are as for AskSources.
	AskToken(ctx context.Context, user protocol.Address, token string) (protocol.VerifiedLogin, error)
	// TokenProvider returns where users of that address's domain, or of the
	// domain that the connection is for, get tokens; nil: it is not known.
	TokenProvider(user protocol.Address) *protocol.TokenProvider
}

// Account is the account that a proof is checked against.
type Account struct {
	User        protocol.Address
	Credentials protocol.Credentials
	Known       bool
	app         *protocol.AppVerifier   // what was proved; nil: another password
	verified    *protocol.VerifiedLogin // by an account source; nil: the account's own password
}

func (a *Account) client() protocol.Client {
	switch {
	case a.app != nil:
		return protocol.Client{User: a.User, Credential: a.app.ID, UsesAppPassword: true}
	case a.verified != nil:
		return protocol.Client{User: a.verified.User, Credential: a.verified.Credential, Expiry: a.verified.Expiry}
	}
	return protocol.Client{User: a.User, Credential: a.Credentials.Index}
}

// lookupAccount looks up an account by the name and the authorization
// identity of the client. An invalid name belongs to nobody.
func lookupAccount(s Server, name, authorization string) (Account, error) {
	user, err := s.ParseAddress(name)
	if err != nil {
		user = protocol.Address{}
	}
	if authorization != "" && authorization != name {
		other, err := s.ParseAddress(authorization)
		if err != nil || other != user {
			return Account{}, protocol.Errorf(protocol.StatusForbidden, "the authorization identity is another's")
		}
	}
	if err := s.CheckLimits(user); err != nil {
		return Account{}, err
	}
	c, known := s.Credentials(user)
	return Account{User: user, Credentials: c, Known: known && !c.Disabled}, nil
}

// fail counts a failed login, and returns the error, which is the same for all
// causes.
func fail(s Server, user protocol.Address) error {
	s.CountFailure(user)
	return protocol.Errorf(protocol.StatusUnauthorized, "the address or the password is wrong")
}
