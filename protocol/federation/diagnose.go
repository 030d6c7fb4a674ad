package federation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// Check is one step of Diagnose.
type Check struct {
	Step   string // policy, route, DNS, address, connection, TLS, greeting, proof
	OK     bool
	Text   string // what was found
	Advice string // what to do if it is not OK
}

// diagnosis collects the checks of one Diagnose.
type diagnosis struct {
	relay  *Relay
	way    domainPair
	checks []Check
}

// Diagnose tries, as local, to connect to remote's home server step by step,
// without the DNS cache, at each target until one works. It takes at most
// about 10 s for each target. reached reports whether a routing connection
// was established; it is closed again.
func (r *Relay) Diagnose(ctx context.Context, own, other string) (all []Check, reached bool) {
	s := &diagnosis{relay: r, way: domainPair{own, other}}
	r.dns.removeDomain(other)
	reached = s.checkPolicy() && s.checkTargets(ctx)
	return s.checks, reached
}

func (s *diagnosis) pass(step, format string, args ...any) bool {
	s.checks = append(s.checks, Check{Step: step, OK: true, Text: fmt.Sprintf(format, args...)})
	return true
}

func (s *diagnosis) fail(step, text, advice string) bool {
	s.checks = append(s.checks, Check{Step: step, Text: text, Advice: advice})
	return false
}

func (s *diagnosis) checkPolicy() bool {
	f := s.relay.config.Federation()
	if err := f.CheckAllowed(s.way.local, s.way.remote); err != nil {
		return s.fail("policy", outbound.PlainText(err), "change --federation, --federation-allow or --federation-block of this site, and send its nodes SIGHUP")
	}
	proof := "by certificate or dialback"
	if f.RequiresCertificate(s.way.local, s.way.remote) {
		proof = "by certificate only"
	}
	return s.pass("policy", "%s deals with %s, which may prove itself %s", s.way.local, s.way.remote, proof)
}

func (s *diagnosis) checkTargets(ctx context.Context) bool {
	targets, private, err := s.relay.targets(ctx, s.way.remote)
	route := s.relay.config.Federation().Routes[s.way.remote]
	switch {
	case err != nil:
		return s.fail("DNS", outbound.PlainText(err), s.dnsAdvice(err))
	case route != "" && route != protocol.ByDNS:
		s.pass("route", "--route leads to %s; DNS is not asked", route)
	default:
		s.pass("DNS", "%s", s.describeDNS(targets))
	}
	for _, t := range targets {
		if s.checkTarget(ctx, t, private) {
			return true
		}
	}
	return false
}

func (s *diagnosis) describeDNS(targets []outbound.Target) string {
	if len(targets) == 1 && targets[0].Host == s.way.remote {
		return fmt.Sprintf("no SRV records, so that %s itself is tried, port %s", s.way.remote, targets[0].Port)
	}
	service, names := "_simp", []string(nil)
	for _, t := range targets {
		if names = append(names, t.String()); t.Security == outbound.TLS {
			service = "_simps"
		}
	}
	return fmt.Sprintf("%s._tcp.%s names %s", service, s.way.remote, strings.Join(names, ", "))
}

func (s *diagnosis) checkTarget(ctx context.Context, t outbound.Target, private bool) bool {
	c := s.relay.connector(s.way.remote, private).NewCandidate(t)
	addresses, err := c.Addresses(ctx)
	if errors.Is(err, outbound.ErrPrivate) {
		return s.fail("address", fmt.Sprintf("%s is at %s: %s", t.Host, strings.Join(c.PrivateAddresses, ", "), err), s.dnsAdvice(err))
	}
	if err != nil {
		return s.fail("address", fmt.Sprintf("%s: %s", t.Host, outbound.PlainText(err)), s.dnsAdvice(err))
	}
	s.pass("address", "%s is at %s", t.Host, strings.Join(addresses, ", "))
	began := time.Now()
	conn, err := c.Connect(ctx)
	if err != nil {
		return s.fail("connection", fmt.Sprintf("%s: %s", t, outbound.PlainText(err)), "see whether a firewall, here or there, lets this node through to that port")
	}
	s.pass("connection", "%s answers after %d ms", conn.RemoteAddr(), time.Since(began).Milliseconds())
	return s.checkHandshake(ctx, outbound.NewConn(conn, t))
}

func (s *diagnosis) checkHandshake(ctx context.Context, o *outbound.Conn) bool {
	defer func() { _ = o.Close() }()
	talk, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := o.WithDeadline(talk, func() error { return s.relay.handshake(talk, o, s.way) }); err != nil {
		return s.failHandshake(err)
	}
	leaf := o.TLS.PeerCertificates[0]
	s.pass("TLS", "%s, certificate for %s, valid until %s", tls.VersionName(o.TLS.Version), strings.Join(leaf.DNSNames, " "), leaf.NotAfter.Format(time.DateOnly))
	s.pass("greeting", "it speaks %s and offers %s", protocol.VersionName(o.Hello.Minor), strings.Join(o.Hello.Auth, ", "))
	prove, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := o.WithDeadline(prove, func() error { return s.relay.authenticate(o, s.way) }); err != nil {
		return s.fail("proof", fmt.Sprintf("it does not take this site for %s: %s", s.way.local, outbound.PlainText(err)), s.proofAdvice(o, err))
	}
	return s.pass("proof", "it takes this site for %s, by %s", s.way.local, s.describeProof(o))
}

// dnsAdvice returns what to do about a DNS error.
func (s *diagnosis) dnsAdvice(err error) string {
	other := s.way.remote
	var dns *net.DNSError
	switch found := errors.As(err, &dns); {
	case errors.Is(err, outbound.ErrNoService):
		return fmt.Sprintf("as long as %s publishes that, its users cannot be reached", other)
	case found && dns.IsNotFound:
		return fmt.Sprintf("see whether the name is spelt rightly; %s has to publish _simps._tcp.%s or _simp._tcp.%s, and addresses for the hosts that they name", other, other, other)
	case errors.Is(err, outbound.ErrPrivate):
		return fmt.Sprintf("if it is meant to be on your own network: --route %s=dns, or --route %s=HOST:PORT", other, other)
	}
	return fmt.Sprintf("see whether this node's resolver works (--dns), and the name servers of %s", other)
}

// describeProof returns the mechanism that was used.
func (s *diagnosis) describeProof(o *outbound.Conn) string {
	if slices.Contains(o.Hello.Auth, mechExternal) && s.relay.config.Certificate(s.way.local) != nil {
		return mechExternal + " (its certificate)"
	}
	return mechDialback
}

func (s *diagnosis) proofAdvice(o *outbound.Conn, err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusForbidden {
		return fmt.Sprintf("ask %s whether it communicates with %s, and whether it requires a certificate that this node does not show", s.way.remote, s.way.local)
	}
	if s.relay.config.Certificate(s.way.local) == nil {
		return fmt.Sprintf("give this node a certificate for %s (--tls-cert), and publish SRV records for %s so that dialback finds it", s.way.local, s.way.local)
	}
	return fmt.Sprintf("ask %s whether it trusts who issued your certificate, and whether it deals with %s", s.way.remote, s.way.local)
}

// isExpired reports whether err means that a certificate has expired or is
// not valid yet.
func isExpired(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

// failHandshake records an error before AUTH.
func (s *diagnosis) failHandshake(err error) bool {
	var unverified *tls.CertificateVerificationError
	var network net.Error
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused) && refused.Status == protocol.StatusVersion:
		return s.fail("greeting", "it speaks another version than "+protocol.Version+": "+refused.Text, "one of the two sites needs a newer version of its server")
	case errors.As(err, &refused):
		return s.fail("greeting", outbound.PlainText(err), "it takes no callers now, or not from here: try again later, or ask its operator")
	case isExpired(err):
		return s.fail("TLS", outbound.PlainText(err), fmt.Sprintf("the operator of %s has to renew its certificate, unless the clock of one of the two machines is wrong", s.way.remote))
	case errors.As(err, &unverified):
		return s.fail("TLS", outbound.PlainText(err), fmt.Sprintf("its certificate has to be valid for %s itself, whatever host DNS names, and issued by an authority of --federation-ca or the system's", s.way.remote))
	case errors.Is(err, outbound.ErrNoTLS):
		return s.fail("TLS", outbound.PlainText(err), "the other site has no certificate, or somebody in between takes STARTTLS away; nothing is said in clear")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return s.fail("greeting", "it accepts connections and then says nothing in time", "see whether SIMP runs on that port, and whether it expects TLS from the first octet (_simps) or STARTTLS (_simp)")
	}
	return s.fail("greeting", outbound.PlainText(err), "see whether SIMP runs on that port, and whether it expects TLS from the first octet (_simps) or STARTTLS (_simp)")
}
