package client

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
)

// Finding is one step on the way to another site, as it was tried.
type Finding struct {
	Step   string // policy, route, DNS, address, connection, TLS, greeting, proof
	OK     bool
	Text   string // what was found
	Advice string // what to do where it is not OK; else empty
}

// survey tries the way to another site and writes down what it finds.
type survey struct {
	relay    *Relay
	way      way
	findings []Finding
}

// Survey tries, as own, to reach other's home server, step by step, with DNS
// asked anew and every target tried until one serves. It takes at most some
// 10 s for each target. reached reports whether a routing connection came about;
// it is closed again.
func (r *Relay) Survey(ctx context.Context, own, other string) (all []Finding, reached bool) {
	s := &survey{relay: r, way: way{own, other}}
	r.names.forgetDomain(other)
	reached = s.policy() && s.find(ctx)
	return s.findings, reached
}

func (s *survey) good(step, format string, args ...any) bool {
	s.findings = append(s.findings, Finding{Step: step, OK: true, Text: fmt.Sprintf(format, args...)})
	return true
}

func (s *survey) bad(step, text, advice string) bool {
	s.findings = append(s.findings, Finding{Step: step, Text: text, Advice: advice})
	return false
}

func (s *survey) policy() bool {
	f := s.relay.Federation()
	if err := f.Admits(s.way.own, s.way.other); err != nil {
		return s.bad("policy", forPeople(err), "change --federation, --federation-allow or --federation-block of this site, and send its nodes SIGHUP")
	}
	proof := "by certificate or dialback"
	if f.WantsCertificate(s.way.own, s.way.other) {
		proof = "by certificate only"
	}
	return s.good("policy", "%s deals with %s, which may prove itself %s", s.way.own, s.way.other, proof)
}

func (s *survey) find(ctx context.Context) bool {
	targets, private, err := s.relay.targets(ctx, s.way.other)
	route := s.relay.Federation().Routes[s.way.other]
	switch {
	case err != nil:
		return s.bad("DNS", forPeople(err), s.namesAdvice(err))
	case route != "" && route != protocol.ByDNS:
		s.good("route", "--route leads to %s; DNS is not asked", route)
	default:
		s.good("DNS", "%s", s.published(targets))
	}
	for _, t := range targets {
		if s.try(ctx, t, private) {
			return true
		}
	}
	return false
}

func (s *survey) published(targets []target) string {
	if len(targets) == 1 && targets[0].host == s.way.other {
		return fmt.Sprintf("no SRV records, so that %s itself is tried, port %s", s.way.other, targets[0].port)
	}
	service, names := "_simp", []string(nil)
	for _, t := range targets {
		if names = append(names, t.String()); t.security == TLS {
			service = "_simps"
		}
	}
	return fmt.Sprintf("%s._tcp.%s names %s", service, s.way.other, strings.Join(names, ", "))
}

func (s *survey) try(ctx context.Context, t target, private bool) bool {
	c := s.relay.connector(s.way.other, private).candidate(t)
	addresses, err := c.addresses(ctx)
	if errors.Is(err, errPrivate) {
		return s.bad("address", fmt.Sprintf("%s is at %s: %s", t.host, strings.Join(c.refused, ", "), err), s.namesAdvice(err))
	}
	if err != nil {
		return s.bad("address", fmt.Sprintf("%s: %s", t.host, forPeople(err)), s.namesAdvice(err))
	}
	s.good("address", "%s is at %s", t.host, strings.Join(addresses, ", "))
	began := time.Now()
	conn, err := c.connect(ctx)
	if err != nil {
		return s.bad("connection", fmt.Sprintf("%s: %s", t, forPeople(err)), "see whether a firewall, here or there, lets this node through to that port")
	}
	s.good("connection", "%s answers after %d ms", conn.RemoteAddr(), time.Since(began).Milliseconds())
	return s.talk(ctx, &opening{wire: wire{Conn: conn}, target: t})
}

func (s *survey) talk(ctx context.Context, o *opening) bool {
	defer func() { _ = o.Close() }()
	talk, cancel := context.WithTimeout(ctx, talkTime)
	defer cancel()
	if err := o.within(talk, func() error { return s.relay.greet(talk, o, s.way) }); err != nil {
		return s.untalked(err)
	}
	leaf := o.tls.PeerCertificates[0]
	s.good("TLS", "%s, certificate for %s, valid until %s", tls.VersionName(o.tls.Version), strings.Join(leaf.DNSNames, " "), leaf.NotAfter.Format(time.DateOnly))
	s.good("greeting", "it speaks %s and offers %s", protocol.Version, strings.Join(o.hello.auth, ", "))
	prove, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if err := o.within(prove, func() error { return s.relay.prove(o, s.way) }); err != nil {
		return s.bad("proof", fmt.Sprintf("it does not take this site for %s: %s", s.way.own, forPeople(err)), s.proofAdvice(o, err))
	}
	return s.good("proof", "it takes this site for %s, by %s", s.way.own, s.proofUsed(o))
}

// namesAdvice is what to do where DNS leads nowhere.
func (s *survey) namesAdvice(err error) string {
	other := s.way.other
	var dns *net.DNSError
	switch found := errors.As(err, &dns); {
	case errors.Is(err, errNoService):
		return fmt.Sprintf("as long as %s publishes that, nobody there can be reached", other)
	case found && dns.IsNotFound:
		return fmt.Sprintf("see whether the name is spelt rightly; %s has to publish _simps._tcp.%s or _simp._tcp.%s, and addresses for the hosts that they name", other, other, other)
	case errors.Is(err, errPrivate):
		return fmt.Sprintf("if it is meant to be on your own network: --route %s=dns, or --route %s=HOST:PORT", other, other)
	}
	return fmt.Sprintf("see whether this node's resolver works (--dns), and the name servers of %s", other)
}

// proofUsed is how the proof went well.
func (s *survey) proofUsed(o *opening) string {
	if slices.Contains(o.hello.auth, mechExternal) && s.relay.Certificate(s.way.own) != nil {
		return mechExternal + " (its certificate)"
	}
	return mechDialback
}

func (s *survey) proofAdvice(o *opening, err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusForbidden {
		return fmt.Sprintf("ask %s whether it deals with %s, and wants a certificate that this node does not show", s.way.other, s.way.own)
	}
	if s.relay.Certificate(s.way.own) == nil {
		return fmt.Sprintf("give this node a certificate for %s (--tls-cert), and publish SRV records for %s so that dialback finds it", s.way.own, s.way.own)
	}
	return fmt.Sprintf("ask %s whether it trusts who issued your certificate, and whether it deals with %s", s.way.other, s.way.own)
}

// isExpired reports whether err says that a certificate has ended, or is not
// valid yet.
func isExpired(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

// untalked says what went wrong before AUTH.
func (s *survey) untalked(err error) bool {
	var unverified *tls.CertificateVerificationError
	var network net.Error
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused) && refused.Status == protocol.StatusVersion:
		return s.bad("greeting", "it speaks another version than "+protocol.Version+": "+refused.Text, "one of the two sites wants a newer program")
	case errors.As(err, &refused):
		return s.bad("greeting", forPeople(err), "it takes no callers now, or not from here: try again later, or ask its operator")
	case isExpired(err):
		return s.bad("TLS", forPeople(err), fmt.Sprintf("the operator of %s has to renew its certificate, unless the clock of one of the two machines is wrong", s.way.other))
	case errors.As(err, &unverified):
		return s.bad("TLS", forPeople(err), fmt.Sprintf("its certificate has to be valid for %s itself, whatever host DNS names, and issued by an authority of --federation-ca or the system's", s.way.other))
	case errors.Is(err, ErrNoTLS):
		return s.bad("TLS", forPeople(err), "the other site has no certificate, or somebody in between takes STARTTLS away; nothing is said in clear")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return s.bad("greeting", "it accepts connections and then says nothing in time", "see whether SIMP runs on that port, and whether it wants TLS at once (_simps) or STARTTLS (_simp)")
	}
	return s.bad("greeting", forPeople(err), "see whether SIMP runs on that port, and whether it wants TLS at once (_simps) or STARTTLS (_simp)")
}
