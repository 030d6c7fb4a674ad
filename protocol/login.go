package protocol

import (
	"net/netip"
	"strings"
	"time"
)

// Principal is whom a login claims to be: a user, or another site by its
// domain. The zero Principal is neither: the name given was no address.
type Principal struct {
	User   Address
	Domain string
}

// String returns the user's address, or @ and the domain; "" for the zero
// Principal.
func (p Principal) String() string {
	if p.Domain != "" {
		return "@" + p.Domain
	}
	return p.User.String()
}

// ParsePrincipal reads what String wrote.
func ParsePrincipal(s string) (p Principal, err error) {
	if s == "" {
		return p, nil
	}
	if domain, ok := strings.CutPrefix(s, "@"); ok {
		p.Domain, err = ParseDomain(domain)
		return p, err
	}
	p.User, err = ParseAddress(s)
	return p, err
}

// Attempt is one try to log in: who is claimed, and from where.
type Attempt struct {
	Principal
	Source netip.Addr
	// Exempt says that many share the source, such as a proxy's clients: no
	// limit by source holds for it, and nobody becomes known by it.
	Exempt bool
}

// SourceTimeout limits the wait of a login for all account sources together.
const SourceTimeout = 3 * time.Second

// PasswordLogin is a login by a password that is not an app password, of a user
// in whose domain account sources have a say.
type PasswordLogin struct {
	User     Address
	Password string
	// Fits reports that it is the password that the table has for the account.
	Fits   bool
	Remote netip.AddrPort // the client
	TLS    bool           // the connection is encrypted
}

// VerifiedLogin is a login that an account source has accepted. It is zero if
// it was the table.
type VerifiedLogin struct {
	User       Address
	Credential uint64  // as Client.Credential
	Expiry     *Expiry // as Client.Expiry
}

// LoginMethods says how the users of a domain can log in.
type LoginMethods struct {
	// Passwords names what checks passwords.
	Passwords PasswordCheck
	// Tokens reports whether users may log in by OAuth token. (Certificates are
	// the same for all domains: they are up to the connection.)
	Tokens bool
	// Provider is where tokens are to be had, if Tokens is set for one domain.
	Provider *TokenProvider
}

// TokenLogin is a login by an OAuth token.
type TokenLogin struct {
	User  Address // who the client says that it is; zero: it does not say
	Token string
}

// TokenProvider says how to get an OAuth token.
type TokenProvider struct {
	Configuration   string // the URL of the provider's description (OpenID Connect Discovery)
	ClientID, Scope string // for programs of people; "": they have to know
}

// PasswordCheck says where the passwords of a domain's users are checked.
type PasswordCheck uint8

// The places. SCRAM checks only passwords that the table has.
const (
	ChecksInTable     PasswordCheck = iota // only the table
	ChecksTableFirst                       // the table, and then account sources
	ChecksSourceFirst                      // account sources, and then the table, if at all
)
