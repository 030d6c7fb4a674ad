package server

import (
	"context"
	"crypto/x509"
	"slices"

	"simpd/protocol"
)

// Partners is what routing connections need besides a Backend (SIMP.md,
// section 9). Its methods may be called from any goroutine; only Verify waits.
// *client.Relay has Verify and Proof.
type Partners interface {
	// Federation says whom the site deals with now.
	Federation() *protocol.Federation
	// Roots are the authorities to trust; nil: the system's.
	Roots() *x509.CertPool
	// Verify asks caller's home server whether data is its proof to called for
	// nonce. The error is an *protocol.Error: 401 if it is not.
	Verify(ctx context.Context, caller, called string, nonce, data []byte) error
	// Proof is what this site proves caller, a domain of its own, with.
	Proof(caller, called string, nonce []byte) []byte
}

// maxRoutes is how many connections each other domain may have to this node.
const maxRoutes = 64

// called is the domain of the site's that a client has connected to: the one
// it named for TLS, or the first.
func (s *session) called() string {
	if s.tls != nil {
		if name, err := protocol.ParseDomain(s.tls().ServerName); err == nil && s.server.serves(name) {
			return name
		}
	}
	return s.server.config.Domains[0]
}

// deals reports whether routing connections are taken at all.
func (s *session) deals() bool {
	p := s.server.config.Partners
	return p != nil && s.tls != nil && s.transport != protocol.WebSocket && !p.Federation().Closed(s.called())
}

// certified reports whether the client has shown a certificate.
func (s *session) certified() bool { return s.tls != nil && len(s.tls().PeerCertificates) > 0 }

// admitDomain returns the domain that data names, if the site deals with it.
func (s *session) admitDomain(data []byte) (string, error) {
	domain, err := protocol.ParseDomain(string(data))
	if err != nil {
		return "", err
	}
	if s.server.serves(domain) {
		return "", protocol.Errorf(protocol.StatusForbidden, "%s is a domain of this site's own", domain)
	}
	if err := s.server.config.Partners.Federation().Admits(s.called(), domain); err != nil {
		return "", err
	}
	return domain, s.admit(s.attempt(protocol.Principal{Domain: domain}))
}

// awaitDomainTurn waits until a proof of domain may be looked at.
func (s *session) awaitDomainTurn(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, domainTurnTime)
	defer cancel()
	return s.awaitTurn(ctx, s.attempt(protocol.Principal{Domain: domain}))
}

// domainTurnTime leaves time to ask the domain's home server.
const domainTurnTime = turnTime / 2

// unproved is what a failed proof of a domain is told.
func (s *session) unproved(domain, format string, args ...any) error {
	s.server.config.Backend.Failed(s.attempt(protocol.Principal{Domain: domain}))
	return protocol.Errorf(protocol.StatusUnauthorized, format, args...)
}

// Recheck ends the routing connections that the federation, which has
// changed, does not admit any more at a domain of the site's that they have
// called or addressed: they may watch there.
func (s *Server) Recheck() {
	if s.config.Partners == nil {
		return
	}
	f := s.config.Partners.Federation()
	for _, x := range s.all() {
		if !x.proved.Load() || x.client.Domain == "" {
			continue
		}
		for _, own := range append(x.addressed(), x.called()) {
			if err := admitsClient(f, own, &x.client); err != nil {
				x.Bye(protocol.StatusForbidden, s.toError(err).Text)
				break
			}
		}
	}
}

// checkRouting sees whether a routing connection may ask r at all.
func (s *session) checkRouting(r *request) error {
	if s.client.Domain == "" {
		return nil
	}
	switch r.line.Verb {
	case "SEND", "QUERY", "WATCH", "UNWATCH", "HELLO", "AUTH", "MORE", "VERIFY":
		return nil
	}
	return protocol.Errorf(protocol.StatusForbidden, "%s is for users; this connection speaks for a domain", r.line.Verb)
}

// checkHere refuses to pass on to a third site what one site asks: a message
// crosses at most one routing connection. It also refuses what is addressed to
// a domain that does not deal with that site.
func (s *session) checkHere(all []protocol.Address) error {
	if s.client.Domain == "" {
		return nil
	}
	f := s.server.config.Partners.Federation()
	for _, a := range all {
		if !s.server.own(a) {
			return protocol.Errorf(protocol.StatusForbidden, "%s is not of this site, which passes nothing on", a)
		}
		if err := admitsClient(f, a.Domain(), &s.client); err != nil {
			return err
		}
		s.noteAddressed(a.Domain())
	}
	return nil
}

// noteAddressed keeps that a routing connection has addressed own, one of the
// site's domains.
func (s *session) noteAddressed(own string) {
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

// admitsClient returns nil if own, a domain of this site's, deals with what a
// routing connection speaks for, and takes how that was proved. The
// connection may have been proved to another one of the site's domains.
func admitsClient(f *protocol.Federation, own string, c *protocol.Client) error {
	if err := f.Admits(own, c.Domain); err != nil {
		return err
	}
	if f.WantsCertificate(own, c.Domain) && !c.Certified {
		return protocol.Errorf(protocol.StatusForbidden, "%s has to prove itself to %s by its certificate: AUTH mech=EXTERNAL", c.Domain, own)
	}
	return nil
}

// claimed reads from, which a routing connection has to say and a user can't.
func (s *session) claimed(r *request) (protocol.Address, error) {
	if s.client.Domain == "" {
		return protocol.Address{}, nil
	}
	v, ok := r.line.Get("from")
	if !ok {
		return protocol.Address{}, protocol.Errorf(protocol.StatusBadRequest, "from is missing: SEND from=IMA to=IMA {n}")
	}
	var from protocol.Address
	err := s.server.idn.read(v, func() (err error) {
		from, err = protocol.ParseAddress(v)
		return err
	})
	if err != nil {
		return from, err
	}
	return from, s.speaksFor(from)
}

func (s *session) speaksFor(a protocol.Address) error {
	if a.Domain() == s.client.Domain {
		return nil
	}
	return protocol.Errorf(protocol.StatusForbidden, "this connection does not speak for %s", a)
}
