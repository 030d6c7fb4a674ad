package server

import (
	"context"
	"crypto/x509"
	"slices"

	"simpd/protocol"
)

// Federation is what routing connections need besides a Backend (SIMP.md,
// section 9). Any goroutine may call its methods; only Verify blocks.
// *federation.Relay implements Verify and Proof.
type Federation interface {
	// Policy returns the present federation policy.
	Policy() *protocol.Federation
	// Roots returns the trusted authorities; nil means the system's.
	Roots() *x509.CertPool
	// Verify asks caller's home server whether data is its proof to called for
	// nonce. The error is a *protocol.Error, with status 401 if it is not.
	Verify(ctx context.Context, caller, called string, nonce, data []byte) error
	// Proof returns this site's proof of caller, one of its domains.
	Proof(caller, called string, nonce []byte) []byte
}

// maxRoutingConns limits the connections of each remote domain to this node.
const maxRoutingConns = 64

// servedDomain returns the site's domain that the client has connected to:
// the one in its TLS server name, or the first.
func (s *session) servedDomain() string {
	if s.tls != nil {
		if name, err := protocol.ParseDomain(s.tls().ServerName); err == nil && s.server.isLocalDomain(name) {
			return name
		}
	}
	return s.server.config.Domains[0]
}

// acceptsFederation reports whether routing connections are accepted at all.
func (s *session) acceptsFederation() bool {
	p := s.server.config.Federation
	return p != nil && s.tls != nil && s.transport != protocol.WebSocket && !p.Policy().Closed(s.servedDomain())
}

// hasClientCertificate reports whether the client has presented a
// certificate.
func (s *session) hasClientCertificate() bool {
	return s.tls != nil && len(s.tls().PeerCertificates) > 0
}

// Revalidate closes the routing connections that the changed policy no longer
// allows, at a domain of the site that they have connected to or addressed.
func (s *Server) Revalidate() {
	if s.config.Federation == nil {
		return
	}
	f := s.config.Federation.Policy()
	for _, x := range s.allSessions() {
		if !x.state.isAuthenticated() || x.client.Domain == "" {
			continue
		}
		for _, own := range append(x.addressed(), x.servedDomain()) {
			if err := checkFederation(f, own, &x.client); err != nil {
				x.Bye(protocol.StatusForbidden, s.toError(err).Text)
				break
			}
		}
	}
}

// checkLocalTargets refuses to pass requests of one site on to a third: a
// message crosses at most one routing connection. It also refuses addresses
// in a domain whose policy does not allow that site.
func (s *session) checkLocalTargets(all []protocol.Address) error {
	if s.client.Domain == "" {
		return nil
	}
	f := s.server.config.Federation.Policy()
	for _, a := range all {
		if !s.server.isLocal(a) {
			return protocol.Errorf(protocol.StatusForbidden, "%s is not of this site, which passes nothing on", a)
		}
		if err := checkFederation(f, a.Domain(), &s.client); err != nil {
			return err
		}
		s.recordAddressed(a.Domain())
	}
	return nil
}

// recordAddressed records that a routing connection has addressed own, one of
// the site's domains.
func (s *session) recordAddressed(own string) {
	if all := s.addressed(); !slices.Contains(all, own) {
		all = append(slices.Clip(all), own)
		s.ownAddressed.Store(&all)
	}
}

// addressed returns the site's domains that a routing connection has
// addressed. Any goroutine may call it.
func (s *session) addressed() []string {
	if all := s.ownAddressed.Load(); all != nil {
		return slices.Clip(*all)
	}
	return nil
}

// checkFederation returns nil if the policy of own, a domain of this site,
// allows the domain of a routing connection, and the way in which it was
// authenticated. The connection may have been authenticated to another one of
// the site's domains.
func checkFederation(f *protocol.Federation, own string, c *protocol.Client) error {
	if err := f.CheckAllowed(own, c.Domain); err != nil {
		return err
	}
	if f.RequiresCertificate(own, c.Domain) && !c.Certified {
		return protocol.Errorf(protocol.StatusForbidden, "%s has to prove itself to %s by its certificate: AUTH mech=EXTERNAL", c.Domain, own)
	}
	return nil
}

// senderParam parses from, which is required on a routing connection and
// ignored for users.
func (s *session) senderParam(r *request) (protocol.Address, error) {
	if s.client.Domain == "" {
		return protocol.Address{}, nil
	}
	v, ok := r.line.Get("from")
	if !ok {
		return protocol.Address{}, protocol.Errorf(protocol.StatusBadRequest, "from is missing: SEND from=IMA to=IMA {n}")
	}
	var from protocol.Address
	err := s.server.idn.parse(v, func() (err error) {
		from, err = protocol.ParseAddress(v)
		return err
	})
	if err != nil {
		return from, err
	}
	return from, s.checkSenderDomain(from)
}

func (s *session) checkSenderDomain(a protocol.Address) error {
	if a.Domain() == s.client.Domain {
		return nil
	}
	return protocol.Errorf(protocol.StatusForbidden, "this connection does not speak for %s", a)
}
