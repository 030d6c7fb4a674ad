package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"testing"

	"simpd/protocol"
)

// partners are other sites whose proofs are as verdict says.
type partners struct {
	federation atomic.Pointer[protocol.Federation]
	roots      *x509.CertPool
	verdict    func(caller string) error
}

func (p *partners) Policy() *protocol.Federation { return p.federation.Load() }
func (p *partners) Roots() *x509.CertPool        { return p.roots }

func (p *partners) Verify(_ context.Context, caller, _ string, _, _ []byte) error {
	return p.verdict(caller)
}

func (p *partners) Proof(string, string, []byte) []byte { return []byte("proof") }

// federated is a harbour of example.com and example.org, of which the latter
// wants certificates, and a call that says in TLS that it wants name.
func federated(t *testing.T, p *partners, set ...func(*Config)) (h *harbour, call func(name string, certs ...tls.Certificate) *client) {
	p.federation.CompareAndSwap(nil, &protocol.Federation{})
	h = newHarbour(t, func(c *Config) {
		c.Domains, c.Federation = []string{"example.com", "example.org"}, p
		for _, f := range set {
			f(c)
		}
	})
	call = func(name string, certs ...tls.Certificate) *client {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"simp"}, Certificates: certs}
		c := h.client(tls.Dial("tcp", h.tls, config))
		c.expect("* HELLO <rest>")
		c.send("h HELLO version=SIMP/1.0")
		c.expect("h 200 <rest>")
		return c
	}
	return h, call
}

func wantsCertificates() *protocol.Federation {
	return &protocol.Federation{Domains: map[string]protocol.Policy{"example.org": {External: map[string]bool{"*": true}}}}
}

func (c *client) dialback(domain, answer string) {
	c.Helper()
	c.send("1 AUTH mech=DIALBACK data=%s", b64(domain))
	c.expect("1 101 data=<any>")
	c.send("1 MORE data=%s", b64("proof"))
	c.expect("1 %s", answer)
}

// How a domain was proved is asked for each domain that is addressed, whatever
// name was called in TLS.
func TestProofIsAskedForEachDomain(t *testing.T) {
	p := &partners{verdict: func(string) error { return nil }}
	p.federation.Store(wantsCertificates())
	other := certificate(t, "example.net")
	p.roots = x509.NewCertPool()
	p.roots.AddCert(other.Leaf)
	_, call := federated(t, p)

	c := call("example.com")
	c.dialback("example.net", "200 domain=example.net")
	const refused = "403 :example.net has to prove itself to example.org by its certificate: AUTH mech=EXTERNAL"
	c.write("2 SEND from=x@example.net to=alice@example.org {2}\r\nhi")
	c.expect("2 403 id=<any> :<rest>")
	c.write("3 SEND from=x@example.net to=alice@example.com to=alice@example.org {2}\r\nhi")
	c.expect("3 403 id=<any> :<rest>")
	c.send("4 QUERY by=x@example.net ima=alice@example.org")
	c.expect("4 %s", refused)
	c.send("5 WATCH by=x@example.net ima=alice@example.org")
	c.expect("5 %s", refused)
	c.write("6 SEND from=x@example.net to=alice@example.com {2}\r\nhi")
	c.expect("6 480 <rest>")

	c = call("example.org")
	c.send("1 AUTH mech=DIALBACK data=%s", b64("example.net"))
	c.expect("1 403 :<rest>")

	for _, name := range []string{"example.com", "example.org"} {
		c = call(name, other)
		c.send("1 AUTH mech=EXTERNAL data=%s", b64("example.net"))
		c.expect("1 200 domain=example.net")
		c.send("2 QUERY by=x@example.net ima=alice@example.org")
		c.expect("2 100 <rest>")
		c.expect("2 200 <rest>")
	}
}

// A connection that has addressed a domain ends when that domain comes to want
// a better proof, and not when another does.
func TestRecheckAsksHowADomainWasProved(t *testing.T) {
	p := &partners{verdict: func(string) error { return nil }}
	h, call := federated(t, p)
	both, one := call("example.com"), call("example.com")
	for _, c := range []*client{both, one} {
		c.dialback("example.net", "200 domain=example.net")
		c.send("2 QUERY by=x@example.net ima=alice@example.com")
		c.expect("2 100 <rest>")
		c.expect("2 200 <rest>")
	}
	both.send("3 QUERY by=x@example.net ima=alice@example.org")
	both.expect("3 100 <rest>")
	both.expect("3 200 <rest>")
	p.federation.Store(wantsCertificates())
	h.server.Revalidate()
	both.expect("* BYE status=403 :<rest>")
	one.send("4 PING")
	one.expect("4 200")
}

// A proof that is wrong counts against its domain and source; what could not
// be found out does not, and is answered as what it is.
func TestWhatCannotBeFoundOutIsNoFailure(t *testing.T) {
	verdicts := map[string]error{
		"wrong.example":   protocol.Errorf(protocol.StatusUnauthorized, "no"),
		"slow.example":    &protocol.Error{Status: protocol.StatusRemoteTimeout, Text: "slow"},
		"broken.example":  &protocol.Error{Status: protocol.StatusRemoteFailure, Text: "broken"},
		"busy.example":    &protocol.Error{Status: protocol.StatusSlowDown, Text: "busy", Retry: 5},
		"strange.example": errors.New("strange"),
	}
	p := &partners{verdict: func(caller string) error { return verdicts[caller] }}
	h, call := federated(t, p)
	c := call("example.com")
	for range maxFailures {
		c.dialback("slow.example", "504 :slow")
	}
	c.dialback("broken.example", "502 :broken")
	c.dialback("busy.example", "429 retry=5 :busy")
	c.dialback("strange.example", "500 <rest>")
	if failed, _ := h.site.attempted(); len(failed) != 0 {
		t.Errorf("counted: %+v", failed)
	}
	c.dialback("wrong.example", "401 :<rest>")
	if failed, _ := h.site.attempted(); len(failed) != 1 || failed[0].Domain != "wrong.example" || !failed[0].User.IsZero() {
		t.Errorf("counted: %+v", failed)
	}
	c.dialback("good.example", "200 domain=good.example")
	if _, right := h.site.attempted(); len(right) != 1 || right[0].Domain != "good.example" {
		t.Errorf("noted: %+v", right)
	}
}
