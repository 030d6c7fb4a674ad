package protocol

import (
	"net/netip"
	"strings"
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
