package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"simpd/cluster/policy"
	"simpd/cluster/policy/policyrpc"
	"simpd/protocol/secretfile"
)

// policySettings are about the operator's program that decides about messages.
type policySettings struct {
	address string // HOST:PORT or unix:PATH; "": there is none
	ca      string
	fail    string // open or closed
	ask     string // first-contacts or all
	entity  bool
}

func policyOptions() []option {
	return []option{
		{name: "policy-address", arg: "ADDRESS", help: "where a program of the operator's is asked about messages by gRPC (PolicyService): HOST:PORT, with TLS unless HOST is a loopback address, or unix:PATH; if not set, none is asked",
			set: setPolicyAddress},
		{name: "policy-ca", arg: "FILE", help: "the certificate authority of that program; if not set, cluster-ca, or else the system's",
			set: toText(func(c *config) *string { return &c.policy.ca })},
		{name: "policy-fail", arg: "WORD", standard: "open", help: "what becomes of a message that the program does not decide about in 200 ms: open passes it, closed answers 503",
			set: toWord(func(c *config) *string { return &c.policy.fail }, "open", "closed")},
		{name: "policy-ask", arg: "WORD", standard: "first-contacts", help: "which messages the program is asked about: first-contacts, or all",
			set: toWord(func(c *config) *string { return &c.policy.ask }, "first-contacts", "all")},
		{name: "policy-entity", form: toggle, help: "show the program the messages themselves",
			set: toToggle(func(c *config) *bool { return &c.policy.entity })},
	}
}

// setPolicyAddress takes HOST:PORT or unix:PATH.
func setPolicyAddress(c *config, v []string) error {
	if path, ok := strings.CutPrefix(v[0], "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return errors.New("unix: needs an absolute path")
		}
	} else if host, port, err := net.SplitHostPort(v[0]); v[0] != "" && (err != nil || host == "" || port == "") {
		return fmt.Errorf("%q is neither HOST:PORT nor unix:PATH", v[0])
	}
	c.policy.address = v[0]
	return nil
}

// isPrivate reports whether no other machine can be at the other end.
func (p *policySettings) isPrivate() bool {
	if strings.HasPrefix(p.address, "unix:") {
		return true
	}
	host, _, _ := net.SplitHostPort(p.address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// newPolicy returns what asks the operator's program; nil if there is none.
func (n *node) newPolicy() (*policy.Hook, error) {
	p := &n.conf.policy
	if p.address == "" {
		return nil, nil
	}
	var c *tls.Config
	if !p.isPrivate() {
		var err error
		if c, err = n.policyTLS(p); err != nil {
			return nil, err
		}
	}
	asker, err := policyrpc.New(p.address, c)
	if err != nil {
		return nil, fmt.Errorf("--policy-address: %w", err)
	}
	return policy.New(policy.Config{
		Asker: asker, FailClosed: p.fail == "closed", All: p.ask == "all", Entity: p.entity, Logger: n.logger,
	}), nil
}

// policyTLS returns how the program is spoken to: its certificate names the
// host, and the node shows its own.
func (n *node) policyTLS(p *policySettings) (*tls.Config, error) {
	host, _, _ := net.SplitHostPort(p.address)
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	ca := p.ca
	if ca == "" {
		ca = n.conf.clusterCA
	}
	if ca != "" {
		authorities, err := secretfile.LoadAuthorities(ca)
		if err != nil {
			return nil, fmt.Errorf("--policy-ca: %w", err)
		}
		c.RootCAs = secretfile.Roots(authorities)
	}
	if n.conf.clusterCert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := tls.LoadX509KeyPair(n.conf.clusterCert, n.conf.clusterKey)
			return &own, err
		}
	}
	return c, nil
}

// policySetting is compared between nodes: a site that asks at one node and not
// at another lets through what it asks about.
func (n *node) policySetting() agreed {
	p := &n.conf.policy
	a := agreed{name: "policy", shown: "none"}
	if p.address != "" {
		a.shown = fmt.Sprintf("policy_ask: %s, policy_fail: %s, policy_entity: %t", p.ask, p.fail, p.entity)
		a.values = []string{a.shown}
	}
	return a
}

// policyWarning tells operators that the program fails.
func (n *node) policyWarning() []string {
	if n.policy == nil || n.policy.Failing() == "" {
		return nil
	}
	what := "are passed without it"
	if n.conf.policy.fail == "closed" {
		what = "are answered 503"
	}
	return []string{fmt.Sprintf("the policy program at %s does not answer, and the messages it would decide about %s: %s", n.conf.policy.address, what, validText(n.policy.Failing()))}
}
