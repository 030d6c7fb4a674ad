package protocol

// Federation holds the policies and routes for other sites (SIMP.md, section
// 9). It must not be changed once it is in use; a new one replaces it. The zero
// Federation allows every domain.
type Federation struct {
	Default Policy
	// Domains has the policies of those of the site's own domains that do not
	// use Default.
	Domains map[string]Policy
	// Routes gives the addresses of domains that are not looked up in DNS:
	// host:port (port 7468: TLS from the first octet), or ByDNS.
	Routes map[string]string
}

// ByDNS is a route that follows DNS also to loopback and private addresses,
// which are refused for a domain without a route.
const ByDNS = "dns"

// Policy says which other domains may exchange messages and presence with a
// domain of the site.
type Policy struct {
	Mode     FederationMode
	Allow    map[string]bool // the domains that AllowListed allows
	Block    map[string]bool // the domains that are never allowed
	External map[string]bool // the domains that must prove themselves by certificate; "*": all
}

// FederationMode says which domains a policy allows.
type FederationMode uint8

// The modes. The zero mode is Open.
const (
	Open        FederationMode = iota // all but those in Policy.Block
	AllowListed                       // those in Policy.Allow that are not in Policy.Block
	Closed                            // none
)

// ParseFederationMode reads open, list or closed.
func ParseFederationMode(s string) (FederationMode, bool) {
	switch s {
	case "open":
		return Open, true
	case "list":
		return AllowListed, true
	case "closed":
		return Closed, true
	}
	return Open, false
}

func (m FederationMode) String() string { return [...]string{"open", "list", "closed"}[m] }

// policy returns the policy of own, a domain of the site.
func (f *Federation) policy(own string) Policy {
	if p, ok := f.Domains[own]; ok {
		return p
	}
	return f.Default
}

// CheckAllowed returns nil if own, a domain of the site, may deal with other.
// Otherwise it returns an *Error of status 403 with the reason.
func (f *Federation) CheckAllowed(own, other string) error {
	p := f.policy(own)
	switch {
	case p.Mode == Closed:
		return Errorf(StatusForbidden, "%s does not deal with other sites", own)
	case p.Block[other]:
		return Errorf(StatusForbidden, "%s does not deal with %s", own, other)
	case p.Mode == AllowListed && !p.Allow[other]:
		return Errorf(StatusForbidden, "%s deals with listed domains only, and %s is not one", own, other)
	}
	return nil
}

// RequiresCertificate reports whether other must prove itself to own by a
// certificate, as DIALBACK is not enough.
func (f *Federation) RequiresCertificate(own, other string) bool {
	p := f.policy(own)
	return p.External["*"] || p.External[other]
}

// Closed reports whether own deals with no other domain.
func (f *Federation) Closed(own string) bool { return f.policy(own).Mode == Closed }
