package server

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
)

// authExchange is an unanswered AUTH.
type authExchange struct {
	sasl.Mechanism
	tag       string
	octets    int
	startedAt time.Time
}

// offeredMechanisms returns the mechanisms offered now to users of a domain, or
// of all domains if it is "", the recommended ones first. SCRAM is accepted
// even where it is not offered, because app passwords work everywhere. Where
// account sources check passwords, most clients would fail with it: so it is
// offered after PLAIN, or not at all if the sources come first.
func (s *session) offeredMechanisms(domain string) (offered []string) {
	m := s.server.config.Backend.LoginMethods(domain)
	plainFirst := m.Passwords != protocol.ChecksInTable
	if plainFirst && s.allowsPlain() {
		offered = append(offered, sasl.NamePlain)
	}
	if m.Passwords != protocol.ChecksSourceFirst {
		if s.channelBinding().IsSupported() {
			offered = append(offered, sasl.NamePlus)
		}
		offered = append(offered, sasl.NameScram)
	}
	if !plainFirst && s.allowsPlain() {
		offered = append(offered, sasl.NamePlain)
	}
	if m.Tokens && s.allowsPlain() {
		offered = append(offered, sasl.NameOAuthBearer)
	}
	if (s.acceptsFederation() || s.acceptsUserCertificates()) && s.hasClientCertificate() {
		offered = append(offered, sasl.NameExternal)
	}
	if s.acceptsFederation() {
		offered = append(offered, sasl.NameDialback)
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
func (s *session) newMechanism(name string) (sasl.Mechanism, error) {
	switch strings.ToUpper(name) {
	case sasl.NamePlus:
		if b := s.channelBinding(); b.IsSupported() {
			return sasl.NewScram(userAuth{s}, s.server.passwords(), b, true), nil
		}
	case sasl.NameScram:
		return sasl.NewScram(userAuth{s}, s.server.passwords(), s.channelBinding(), false), nil
	case sasl.NamePlain:
		if !s.allowsPlain() {
			return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only: STARTTLS first")
		}
		return sasl.NewPlain(userAuth{s}, s.server.hasher, s.server.proved), nil
	case sasl.NameOAuthBearer:
		return s.newTokenMechanism()
	case sasl.NameExternal:
		if s.acceptsUserCertificates() && s.hasClientCertificate() {
			m := &sasl.AnyExternal{Users: certificateAuth{userAuth{s}}, Chain: s.tls().PeerCertificates}
			if s.acceptsFederation() {
				m.Domains = domainAuth{s}
			}
			return m, nil
		}
		return s.newDomainMechanism(sasl.NameExternal)
	case sasl.NameDialback:
		return s.newDomainMechanism(sasl.NameDialback)
	}
	return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", protocol.Quote(name))
}

// newTokenMechanism starts OAUTHBEARER, if users of one of the site's domains
// can log in with tokens.
func (s *session) newTokenMechanism() (sasl.Mechanism, error) {
	takesTokens := func(domain string) bool { return s.server.config.Backend.LoginMethods(domain).Tokens }
	switch {
	case !slices.ContainsFunc(s.server.config.Domains, takesTokens):
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", sasl.NameOAuthBearer)
	case !s.allowsPlain():
		return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a token is said under TLS only: STARTTLS first")
	}
	return sasl.NewOAuthBearer(userAuth{s}), nil
}

// newDomainMechanism starts a mechanism by which another site authenticates.
func (s *session) newDomainMechanism(name string) (sasl.Mechanism, error) {
	switch {
	case s.server.config.Federation == nil:
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s is not offered here", name)
	case s.tls == nil:
		return nil, protocol.Errorf(protocol.StatusTLSNeeded, "a domain is proved under TLS only: STARTTLS first")
	case !s.acceptsFederation():
		return nil, protocol.Errorf(protocol.StatusForbidden, "%s does not deal with other sites", s.servedDomain())
	case name == sasl.NameDialback:
		return sasl.NewDialback(domainAuth{s}, &s.server.verifySlots, sasl.Source{Addr: s.client.Remote.Addr(), Shared: s.connSlot.isExempt()}), nil
	case !s.hasClientCertificate():
		return nil, protocol.Errorf(protocol.StatusForbidden, "EXTERNAL requires a client certificate, and none was shown")
	}
	return sasl.NewExternal(domainAuth{s}, s.tls().PeerCertificates), nil
}

// passwords returns what SCRAM needs to find accounts with an empty password.
func (s *Server) passwords() sasl.Passwords {
	return sasl.Passwords{Hasher: s.hasher, Verifiers: &s.verifiers, Logger: s.config.Logger}
}

// userAuth answers what the mechanisms for users ask.
type userAuth struct{ s *session }

var _ sasl.Server = userAuth{}

func (a userAuth) ParseAddress(name string) (protocol.Address, error) {
	return a.s.server.parseAddress(name)
}

func (a userAuth) Credentials(user protocol.Address) (protocol.Credentials, bool) {
	return a.s.server.config.Backend.Credentials(user)
}

func (a userAuth) CheckLimits(user protocol.Address) error {
	return a.s.checkLoginLimits(a.s.userAttempt(user))
}

func (a userAuth) IsPaced(user protocol.Address) bool {
	return a.s.server.config.Backend.IsPaced(a.s.userAttempt(user))
}

func (a userAuth) AwaitTurn(ctx context.Context, user protocol.Address) error {
	return a.s.awaitTurn(ctx, a.s.userAttempt(user))
}

func (a userAuth) AskSources(ctx context.Context, user protocol.Address, password string, fits bool) (protocol.VerifiedLogin, error) {
	return a.s.server.config.Backend.AskSources(ctx, protocol.PasswordLogin{
		User: user, Password: password, Fits: fits, Remote: a.s.client.Remote, TLS: a.s.tls != nil,
	})
}

func (a userAuth) AskToken(ctx context.Context, user protocol.Address, token string) (protocol.VerifiedLogin, error) {
	return a.s.server.config.Backend.AskToken(ctx, protocol.TokenLogin{User: user, Token: token})
}

// TokenProvider returns the provider of the user's domain, or of the first of
// the site's domains that has one.
func (a userAuth) TokenProvider(user protocol.Address) *protocol.TokenProvider {
	domains := a.s.server.config.Domains
	if !user.IsZero() {
		domains = []string{user.Domain()}
	}
	for _, domain := range domains {
		if p := a.s.server.config.Backend.LoginMethods(domain).Provider; p != nil {
			return p
		}
	}
	return nil
}

func (a userAuth) CountFailure(user protocol.Address) {
	a.s.server.config.Backend.Failed(a.s.userAttempt(user))
}

// acceptsUserCertificates reports whether users may log in by certificate.
func (s *session) acceptsUserCertificates() bool {
	roots := s.server.config.UserRoots
	return roots != nil && s.tls != nil && roots() != nil
}

// certificateAuth answers what EXTERNAL for users asks.
type certificateAuth struct{ userAuth }

var _ sasl.Users = certificateAuth{}

func (a certificateAuth) Roots() *x509.CertPool { return a.s.server.config.UserRoots() }

func (a certificateAuth) AcceptCertificate(ctx context.Context, user protocol.Address, leaf *x509.Certificate) (protocol.VerifiedLogin, error) {
	if !a.s.server.isLocal(user) {
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "the certificate's address is not in a domain of this site")
	}
	v, err := a.s.server.config.Backend.AcceptCertificate(ctx, user)
	v.Expiry = &protocol.Expiry{At: leaf.NotAfter, Reason: "the certificate has expired"}
	return v, err
}

// domainAuth answers what the mechanisms for other sites ask.
type domainAuth struct{ s *session }

var _ sasl.Domains = domainAuth{}

// ParseIdentity returns the domain in data, if the policy allows it.
func (a domainAuth) ParseIdentity(data []byte) (string, error) {
	domain, err := protocol.ParseDomain(string(data))
	if err != nil {
		return "", err
	}
	s := a.s
	if s.server.isLocalDomain(domain) {
		return "", protocol.Errorf(protocol.StatusForbidden, "%s is a domain of this site's own", domain)
	}
	if err := s.server.config.Federation.Policy().CheckAllowed(s.servedDomain(), domain); err != nil {
		return "", err
	}
	return domain, s.checkLoginLimits(s.domainAttempt(domain))
}

// domainTurnTime leaves time to ask the domain's home server.
const domainTurnTime = turnTimeout / 2

func (a domainAuth) AwaitTurn(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, domainTurnTime)
	defer cancel()
	return a.s.awaitTurn(ctx, a.s.domainAttempt(domain))
}

func (a domainAuth) CountFailure(domain string) {
	a.s.server.config.Backend.Failed(a.s.domainAttempt(domain))
}

func (a domainAuth) Roots() *x509.CertPool { return a.s.server.config.Federation.Roots() }

func (a domainAuth) RequiresCertificate(domain string) bool {
	return a.s.server.config.Federation.Policy().RequiresCertificate(a.s.servedDomain(), domain)
}

func (a domainAuth) Verify(ctx context.Context, domain string, nonce, data []byte) error {
	return a.s.server.config.Federation.Verify(ctx, domain, a.s.servedDomain(), nonce, data)
}
