package protocol

// Federation says with which other domains a site deals, and how (SIMP.md,
// section 9). It is not changed once it is in use; a new one takes its place.
// The zero Federation deals with all of them.
type Federation struct {
	Standard Policy
	// Domains has the policies of those of the site's own domains that have
	// one of their own, in the place of Standard.
	Domains map[string]Policy
	// Routes says where other domains are, in the place of DNS: host:port
	// (port 7468: TLS at once), or ByDNS.
	Routes map[string]string
}

// ByDNS is a route of the operator's that goes where DNS leads, also to
// loopback and private addresses, where no other route may go.
const ByDNS = "dns"

// Policy says with which other domains one domain of the site deals.
type Policy struct {
	Mode     FederationMode
	Allow    map[string]bool // in OnlyListed: with these
	Block    map[string]bool // never with these
	External map[string]bool // these prove themselves by certificate; "*": all do
}

// FederationMode is whom a policy allows where its lists say nothing.
type FederationMode uint8

// The modes. The zero mode is Open.
const (
	Open       FederationMode = iota // everybody
	OnlyListed                       // nobody
	Closed                           // nobody, whatever the lists say
)

// ParseFederationMode reads open, list or closed.
func ParseFederationMode(s string) (FederationMode, bool) {
	switch s {
	case "open":
		return Open, true
	case "list":
		return OnlyListed, true
	case "closed":
		return Closed, true
	}
	return Open, false
}

func (m FederationMode) String() string { return [...]string{"open", "list", "closed"}[m] }

// policy returns what holds for one of the site's own domains.
func (f *Federation) policy(own string) Policy {
	if p, ok := f.Domains[own]; ok {
		return p
	}
	return f.Standard
}

// Admits returns nil if own, a domain of the site's, deals with other, and
// else an *Error of status 403 that says why not.
func (f *Federation) Admits(own, other string) error {
	p := f.policy(own)
	switch {
	case p.Mode == Closed:
		return Errorf(StatusForbidden, "%s does not deal with other sites", own)
	case p.Block[other]:
		return Errorf(StatusForbidden, "%s does not deal with %s", own, other)
	case p.Mode == OnlyListed && !p.Allow[other]:
		return Errorf(StatusForbidden, "%s deals with listed domains only, and %s is not one", own, other)
	}
	return nil
}

// WantsCertificate reports whether other has to prove itself to own by its
// certificate: a DIALBACK will not do.
func (f *Federation) WantsCertificate(own, other string) bool {
	p := f.policy(own)
	return p.External["*"] || p.External[other]
}

// Closed reports whether own deals with nobody.
func (f *Federation) Closed(own string) bool { return f.policy(own).Mode == Closed }
