package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync/atomic"

	"simpd/protocol"
	"simpd/protocol/dns"
	"simpd/protocol/federation"
	"simpd/protocol/secretfile"
)

// federationConfig holds the settings about other sites, as they were written:
// lists of values for the domains of the site's own that they are for; "" is
// for all.
type federationConfig struct {
	modes                  map[string]protocol.FederationMode
	allow, block, external map[string][]string
	routes                 map[string]string
	ca, dns                string
}

func federationOptions() []option {
	return []option{
		{name: "federation", arg: "[DOMAIN=]WORD", form: list, standard: "open", reload: true,
			help: "which other sites this one communicates with: open (all), list (those of federation-allow) or closed (none); with DOMAIN, for this domain of the site only; may be repeated",
			set:  setModes},
		{name: "federation-allow", arg: "[DOMAIN=]OTHER", form: list, reload: true, help: "a domain to communicate with if federation is list; may be repeated",
			set: toOthers(func(f *federationConfig) *map[string][]string { return &f.allow })},
		{name: "federation-block", arg: "[DOMAIN=]OTHER", form: list, reload: true, help: "a domain never to communicate with; may be repeated",
			set: toOthers(func(f *federationConfig) *map[string][]string { return &f.block })},
		{name: "federation-require-external", arg: "[DOMAIN=]OTHER", form: list, reload: true,
			help: "a domain that must prove itself by its certificate, not by dialback; * is every domain; may be repeated",
			set:  toOthers(func(f *federationConfig) *map[string][]string { return &f.external })},
		{name: "route", arg: "OTHER=HOST:PORT", form: list, reload: true,
			help: "the server of another domain, instead of asking DNS (port 7468: TLS from the first octet); OTHER=dns: where DNS says, even at a private address; may be repeated",
			set:  setRoutes},
		{name: "federation-ca", arg: "FILE", reload: true, help: "the certificate authorities of other sites, instead of the system's",
			set: toText(func(c *config) *string { return &c.federation.ca })},
		{name: "dns", arg: "HOST:PORT", help: "the DNS resolver to ask, instead of the system's",
			set: toListen(func(c *config) *string { return &c.federation.dns })},
	}
}

// cutOwn reads [DOMAIN=]VALUE.
func cutOwn(s string) (own, value string, err error) {
	own, value, named := strings.Cut(s, "=")
	if !named {
		return "", s, nil
	}
	own, err = protocol.ParseDomain(own)
	return own, value, err
}

func setModes(c *config, v []string) error {
	c.federation.modes = map[string]protocol.FederationMode{}
	for _, s := range v {
		own, word, err := cutOwn(s)
		if err != nil {
			return err
		}
		mode, ok := protocol.ParseFederationMode(word)
		if !ok {
			return fmt.Errorf("%q is not one of open, list, closed", word)
		}
		c.federation.modes[own] = mode
	}
	return nil
}

func toOthers(field func(*federationConfig) *map[string][]string) func(*config, []string) error {
	return func(c *config, v []string) error {
		lists := map[string][]string{}
		for _, s := range v {
			own, other, err := cutOwn(s)
			if err == nil && other != "*" {
				other, err = protocol.ParseDomain(other)
			}
			if err != nil {
				return err
			}
			lists[own] = append(lists[own], other)
		}
		*field(&c.federation) = lists
		return nil
	}
}

func setRoutes(c *config, v []string) error {
	c.federation.routes = map[string]string{}
	for _, s := range v {
		name, to, ok := strings.Cut(s, "=")
		other, err := protocol.ParseDomain(name)
		if !ok || err != nil {
			return fmt.Errorf("invalid route %q: must be DOMAIN=HOST:PORT, like example.net=10.1.2.3:7467, or DOMAIN=dns", s)
		}
		if to != protocol.ByDNS {
			if err := checkPeer(to); err != nil {
				return err
			}
		}
		c.federation.routes[other] = to
	}
	return nil
}

// buildPolicy puts the settings together: what is for one domain comes on top of
// what is for all.
func (f *federationConfig) buildPolicy() *protocol.Federation {
	rules := &protocol.Federation{Default: f.domainPolicy(protocol.Policy{}, ""), Domains: map[string]protocol.Policy{}, Routes: f.routes}
	for own := range f.ownDomains() {
		rules.Domains[own] = f.domainPolicy(rules.Default, own)
	}
	return rules
}

// ownDomains are the domains that something is said of in particular.
func (f *federationConfig) ownDomains() map[string]bool {
	all := map[string]bool{}
	for own := range f.modes {
		all[own] = true
	}
	for _, lists := range []map[string][]string{f.allow, f.block, f.external} {
		for own := range lists {
			all[own] = true
		}
	}
	delete(all, "")
	return all
}

func (f *federationConfig) domainPolicy(base protocol.Policy, own string) protocol.Policy {
	p := protocol.Policy{
		Mode: base.Mode, Allow: union(base.Allow, f.allow[own]), Block: union(base.Block, f.block[own]), External: union(base.External, f.external[own]),
	}
	if mode, ok := f.modes[own]; ok {
		p.Mode = mode
	}
	return p
}

func union(base map[string]bool, more []string) map[string]bool {
	all := map[string]bool{}
	maps.Copy(all, base)
	for _, s := range more {
		all[s] = true
	}
	return all
}

// readRoots reads the authorities of other sites; none: the system's.
func (f *federationConfig) readRoots() (authorities []*x509.Certificate, pool *x509.CertPool, err error) {
	if f.ca == "" {
		return nil, nil, nil
	}
	authorities, err = secretfile.LoadAuthorities(f.ca)
	if err != nil {
		return nil, nil, err
	}
	return authorities, secretfile.Roots(authorities), nil
}

// dnsResolver asks the operator's choice, or the system's.
func (f *federationConfig) dnsResolver() dns.Resolver {
	if f.dns == "" {
		return net.DefaultResolver
	}
	return dns.NewServer(f.dns)
}

// partners connects this node with other sites: it speaks to them
// through its Relay, and tells the listeners whom to hear.
type partners struct {
	*federation.Relay
	rules       atomic.Pointer[protocol.Federation]
	roots       atomic.Pointer[x509.CertPool]
	authorities atomic.Pointer[[]*x509.Certificate] // in roots; empty: the system's
	certificate func(domain string) *tls.Certificate
}

// load takes what the settings say now.
func (p *partners) load(f *federationConfig) error {
	authorities, roots, err := f.readRoots()
	if err != nil {
		return err
	}
	p.roots.Store(roots)
	p.authorities.Store(&authorities)
	p.rules.Store(f.buildPolicy())
	return nil
}

// Policy says whom the site deals with now.
func (p *partners) Policy() *protocol.Federation { return p.rules.Load() }

// Roots are the authorities of other sites; nil: the system's.
func (p *partners) Roots() *x509.CertPool { return p.roots.Load() }

// Certificate returns the certificate of one of the site's domains, or nil.
func (p *partners) Certificate(domain string) *tls.Certificate { return p.certificate(domain) }

// newPartners makes what a node needs for other sites; nil where nothing is
// secured, which nobody outside could trust.
func (n *node) newPartners() (*partners, error) {
	if n.conf.insecure {
		return nil, nil
	}
	p := &partners{certificate: func(string) *tls.Certificate { return nil }}
	if n.certificates != nil {
		p.certificate = n.certificates.For
	}
	if err := p.load(&n.conf.federation); err != nil {
		return nil, err
	}
	c := federation.Config{
		Federation: p.Policy, Roots: p.Roots, Certificate: p.Certificate, Secret: n.dialbackSecret, Agent: "simpd",
		Resolver: n.conf.federation.dnsResolver(), Logger: n.logger,
	}
	p.Relay = federation.New(c)
	return p, nil
}

// reloadPartners takes what the settings say now of other sites, and ends the
// connections that are not allowed any more.
func (n *node) reloadPartners(f *federationConfig) error {
	if err := n.partners.load(f); err != nil {
		return err
	}
	n.partners.Revalidate()
	n.clients.Load().Revalidate()
	return nil
}

// dialbackSecret is made from the site's secret, which all its nodes have.
func (n *node) dialbackSecret() []byte {
	mac := hmac.New(sha256.New, n.table.Secret())
	mac.Write([]byte("dialback"))
	return mac.Sum(nil)
}
