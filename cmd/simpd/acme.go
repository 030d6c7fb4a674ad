package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"time"

	"simpd/cluster/acmecert"
	"simpd/protocol"
	"simpd/protocol/tlspolicy"
)

// acmeConfig holds the settings for certificates by ACME.
type acmeConfig struct {
	domains   []string // none: off
	directory string   // URL
	email     string
	listen    string // for http-01; empty: tls-alpn-01
	authority string // file; empty: the system's authorities

	reissueBefore time.Time // zero: nothing is obtained anew before it is due
}

func acmeOptions() []option {
	return []option{
		{name: "acme-domain", arg: "DOMAIN", form: list, help: "a name for which the site obtains and renews a certificate for clients by ACME, " +
			"instead of or besides tls-cert; setting it accepts the authority's terms of service; may be repeated",
			set: setACMEDomains},
		{name: "acme-directory", arg: "URL", standard: acmecert.LetsEncrypt, help: "the directory of the authority that acme-domain asks",
			set: setACMEDirectory},
		{name: "acme-email", arg: "ADDRESS", help: "where the authority writes if something is wrong with a certificate",
			set: setACMEEmail},
		{name: "acme-http-listen", arg: "HOST:PORT", standard: "off", help: "listen address for the authority's challenges by HTTP (http-01), which come to port 80 of each acme-domain. " +
			"If off, simps-listen and ws-listen answer challenges by TLS (tls-alpn-01), which come to port 443",
			set: toListen(func(c *config) *string { return &c.acme.listen })},
		{name: "acme-ca", arg: "FILE", help: "the certificate authorities that acme-directory is checked with, instead of the system's",
			set: toText(func(c *config) *string { return &c.acme.authority })},
		{name: "acme-reissue-before", arg: "TIME", help: "obtain anew what was obtained by ACME before that time (RFC 3339), the account included, as after a node was stolen",
			set: setACMEReissueBefore},
	}
}

func setACMEDomains(c *config, values []string) error {
	for _, v := range values {
		d, err := protocol.ParseDomain(v)
		if err != nil {
			return err
		}
		c.acme.domains = append(c.acme.domains, d)
	}
	return nil
}

func setACMEDirectory(c *config, v []string) error {
	u, err := url.Parse(v[0])
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("invalid URL %q: must look like %s", v[0], acmecert.LetsEncrypt)
	}
	c.acme.directory = v[0]
	return nil
}

func setACMEReissueBefore(c *config, v []string) (err error) {
	if c.acme.reissueBefore, err = time.Parse(time.RFC3339, v[0]); err != nil {
		return fmt.Errorf("invalid time %q: must look like 2027-01-31T12:00:00Z", v[0])
	}
	return nil
}

func setACMEEmail(c *config, v []string) error {
	a, err := mail.ParseAddress(v[0])
	if err != nil || a.Name != "" {
		return fmt.Errorf("invalid address %q: must look like ops@example.com", v[0])
	}
	c.acme.email = a.Address
	return nil
}

func (a *acmeConfig) challenge() acmecert.Challenge {
	if a.listen != "" {
		return acmecert.HTTP01
	}
	return acmecert.TLSALPN01
}

// checkACME checks the settings for certificates by ACME against the others.
func (v *validator) checkACME() {
	if len(v.acme.domains) == 0 {
		if v.acme.listen != "" {
			v.addProblem("acme-http-listen", "there is no acme-domain, so nothing would be served")
		}
		return
	}
	if v.insecure {
		v.addProblem("acme-domain", "must not be set together with --insecure: the nodes share the certificates' keys encrypted with the gossip key")
	}
	if v.acme.listen == "" && v.simps == "" && v.ws == "" && v.areValid("acme-http-listen", "simps-listen", "ws-listen") {
		v.addProblem("acme-domain", "no listener could answer the authority: set simps-listen or ws-listen, to which port 443 must lead, or acme-http-listen, to which port 80 must lead")
	}
}

// newACME returns what obtains the site's certificates; nil without
// acme-domain.
func (n *node) newACME() *acmecert.Manager {
	a := &n.conf.acme
	if len(a.domains) == 0 {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: n.acmeRoots, MinVersion: tlspolicy.MinVersion}
	m := acmecert.New(acmecert.Config{
		Domains: a.domains, Directory: a.directory, Email: a.email, Challenge: a.challenge(), ReissueBefore: a.reissueBefore,
		Secrets:  &sealedSecrets{n},
		IsLeader: func() bool { return n.cluster.Leader() == n.conf.nodeID && n.cluster.QuorumLostFor() == 0 },
		Install:  n.certificates.SetObtained,
		HTTP:     &http.Client{Transport: transport, Timeout: acmeRequestTimeout},
		Logger:   n.logger,
	})
	n.certificates.SetChallenge(m.ChallengeCertificate)
	return m
}

// acmeRequestTimeout limits one request to the authority.
const acmeRequestTimeout = 30 * time.Second

// startACME obtains certificates until the node stops. The site is joined.
func (n *node) startACME() error {
	if n.acme == nil {
		return nil
	}
	if l := n.sockets["acme-http-listen"]; l != nil {
		n.challenges = &http.Server{
			Handler: n.acme, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
			MaxHeaderBytes: 16 << 10, DisableGeneralOptionsHandler: true,
		}
		n.serveListener("acme-http-listen", func() error { return n.challenges.Serve(l) })
	}
	n.serving.Go(func() { n.acme.Run(n.ctx) })
	return nil
}

// acmeProblems says which certificates could not be obtained.
func (n *node) acmeProblems() (all []string) {
	if n.acme == nil {
		return nil
	}
	for _, f := range n.acme.Failures() {
		all = append(all, validText(fmt.Sprintf("the certificate for %s could not be obtained by ACME (attempt %d; the next is at %s): %v",
			f.Domain, f.Count, f.Next.UTC().Format(time.RFC3339), f.Err)))
	}
	return all
}

func emitACME(n *node, emit emitter) {
	if n.acme != nil {
		emit(float64(n.acme.Obtained.Load()), "obtained")
		emit(float64(n.acme.Failed.Load()), "failed")
	}
}

// acmeSetting says which certificates the site obtains, which has to be the
// same on all nodes: any of them may lead.
func (n *node) acmeSetting() agreed {
	a := &n.conf.acme
	if len(a.domains) == 0 {
		return agreed{name: "acme_domain", shown: "none"}
	}
	return agreed{name: "acme_domain", values: append(sortedCopy(a.domains), a.directory, string(a.challenge()), a.reissueBefore.UTC().Format(time.RFC3339))}
}
