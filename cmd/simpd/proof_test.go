package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/cmd/testkit/world"
	"simpd/protocol"
)

// A domain is proved by a subject alternative name of a certificate that
// is trusted and valid now, for a server or a client, and by nothing else.
func TestOnlyACertificateOfTheDomainProvesIt(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	stranger, err := world.NewAuthority("somebody")
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stranger.Issue(world.Order{Names: []string{"victim.example"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		show *tls.Certificate
		want string
	}{
		"right":            {g.issue(world.Order{Names: []string{"victim.example"}}), "200"},
		"a client's":       {g.issue(world.Order{Names: []string{"victim.example"}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), "200"},
		"none":             {nil, "403"},
		"by common name":   {g.issue(world.Order{CommonName: "victim.example"}), "401"},
		"CN and other SAN": {g.issue(world.Order{CommonName: "victim.example", Names: []string{"evil.example"}}), "401"},
		"CN in CN":         {g.issue(world.Order{CommonName: "evil.example,CN=victim.example", Names: []string{"evil.example"}}), "401"},
		"a subdomain's":    {g.issue(world.Order{Names: []string{"a.victim.example"}}), "401"},
		"the parent's":     {g.issue(world.Order{Names: []string{"example"}}), "401"},
		"expired":          {g.issue(world.Order{Names: []string{"victim.example"}, Expired: true}), "401"},
		"for code":         {g.issue(world.Order{Names: []string{"victim.example"}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}), "401"},
		"of a stranger's":  {&forged, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			one.globe.T = t
			k := one.call(c.show)
			k.answers("HELLO version=SIMP/1.0", "200")
			k.answers("AUTH mech=EXTERNAL data="+b64("victim.example"), c.want)
		})
	}
	g.T = t
	k := one.call(g.issue(world.Order{Names: []string{"victim.example"}}))
	k.answers("HELLO version=SIMP/1.0", "200")
	for data, want := range map[string]string{"one.example": "403", "no domain": "400", "": "400", "other.example": "401"} {
		k.answers("AUTH mech=EXTERNAL data="+b64(data), want)
	}
}

// A sender's address is what was proved. A user can't choose it, and
// a domain can't claim another's; nothing else that is said of a sender comes
// through.
func TestSendersAreWhoTheyProvedToBe(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) { c.domains = append(c.domains, "also.example") })
	bob := one.login("bob")
	bob.listen()
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	send := func(claim string) string { return "SEND " + claim + " to=bob@one.example {2}\r\nhi" }
	for claim, want := range map[string]string{
		"": "400", "from=alice@one.example": "403", "from=alice@three.example": "403", "from=alice@a.two.example": "403", "from=alice@example": "403",
		"from=alice@also.example": "403", "from=two.example": "400", "from=alice": "400", "from=a@two.example from=b@three.example": "400",
		"from=\"alice@two.example\" sender=eve@one.example": "200", "FROM=alice@TWO.example": "200", "from=alice@two.example": "200",
	} {
		k.answers(send(claim), want)
	}
	if len(bob.messages) != 3 {
		t.Errorf("%d messages came", len(bob.messages))
	}
	for range len(bob.messages) {
		if m := receive(t, "bob's message", bob.messages); m.From.String() != "alice@two.example" {
			t.Errorf("from %s", m.From)
		}
	}
	for request, want := range map[string]string{
		"QUERY ima=bob@one.example": "400", "QUERY ima=bob@one.example by=alice@one.example": "403", "WATCH ima=bob@one.example by=a@two.example by=a@three.example": "403",
		"UNWATCH by=a@three.example": "403", "UNWATCH": "400", "WATCH contacts=yes by=a@two.example": "403", "QUERY ima=bob@one.example by=alice@two.example": "200",
		"LISTEN": "403", "STATE state=busy": "403", "UNLISTEN": "403", "PASSWD data=AAAA": "403", "ACL": "403", "CONTACT": "403", "WATCHERS": "403",
		"SEND from=a@two.example to=x@three.example {2}\r\nhi": "403", "QUERY ima=x@three.example by=a@two.example": "403", "AUTH mech=PLAIN": "409",
	} {
		k.answers(request, want)
	}
	alice := one.login("alice")
	p := one.call(nil)
	p.answers("HELLO version=SIMP/1.0", "200")
	p.answers("AUTH mech=PLAIN data="+b64("\x00alice@one.example\x00"+testPassword), "200")
	p.answers("SEND from=bob@one.example Time=2000-01-01T00:00:00Z FROM2=x sender=x resent-from=x to=bob@one.example {2}\r\nhi", "200")
	if m := receive(t, "bob's message", bob.messages); m.From != alice.User() || time.Since(m.Time) > time.Minute {
		t.Errorf("from %s at %s", m.From, m.Time)
	}
	p.answers("AUTH mech=PLAIN data="+b64("bob@one.example\x00alice@one.example\x00"+testPassword), "409")
	p = one.call(nil)
	p.answers("HELLO version=SIMP/1.0", "200")
	p.answers("AUTH mech=PLAIN data="+b64("bob@one.example\x00alice@one.example\x00"+testPassword), "403")
	p.answers("QUERY ima=bob@one.example by=bob@one.example", "401")
}

// A dialback counts only if the domain's home server, whose certificate
// is the domain's, says so; not where a certificate is demanded.
func TestDialback(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		c.federation.external = map[string][]string{"": {"strict.example"}}
		c.federation.routes["victim.example"] = protocol.ByDNS
	})
	two := g.site("two.example", nil)
	k := func(domain string) (*caller, []byte, string) {
		k := one.call(nil)
		k.answers("HELLO version=SIMP/1.0", "200")
		_, _ = fmt.Fprintf(k.Conn, "t AUTH mech=DIALBACK data=%s\r\n", b64(domain))
		line := k.line()
		_, data, _ := strings.Cut(line, "101 data=")
		nonce, _ := base64.StdEncoding.DecodeString(data)
		return k, nonce, line
	}
	c, nonce, _ := k("two.example")
	if len(nonce) < 16 {
		t.Errorf("a nonce of %d octets", len(nonce))
	}
	c.answers("MORE data="+b64(string(two.partners.Proof("two.example", "one.example", nonce))), "200")

	c, nonce, _ = k("two.example") // made by somebody else
	c.answers("MORE data="+b64(string(one.partners.Proof("two.example", "one.example", nonce))), "401")

	c, nonce, _ = k("two.example") // of another call
	c.answers("MORE data="+b64(string(two.partners.Proof("two.example", "three.example", nonce))), "401")

	// DNS leads to a host that vouches, but has no certificate of the domain's.
	g.name("victim.example", "simp", two.sockets["simp-listen"].Addr())
	c, nonce, _ = k("victim.example")
	c.answers("MORE data="+b64(string(two.partners.Proof("victim.example", "one.example", nonce))), "401")

	if _, _, said := k("strict.example"); !strings.HasPrefix(said, "t 403") {
		t.Errorf("a dialback where a certificate is demanded: %s", said)
	}
	if _, _, said := k("one.example"); !strings.HasPrefix(said, "t 403") {
		t.Errorf("a dialback for the site's own domain: %s", said)
	}
}

// VERIFY vouches for what the site itself has made, before any AUTH, and for
// nothing else.
func TestVerify(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	nonce := "0123456789abcdef"
	proof := func(caller, called string) string {
		return b64(string(one.partners.Proof(caller, called, []byte(nonce))))
	}
	verify := func(domain, caller, nonce, data string) string {
		return fmt.Sprintf("VERIFY domain=%s caller=%s nonce=%s data=%s", domain, caller, b64(nonce), data)
	}
	k := one.call(nil)
	k.answers(verify("two.example", "one.example", nonce, proof("one.example", "two.example")), "409")
	k.answers("HELLO version=SIMP/1.0", "200")
	k.answers(verify("two.example", "one.example", nonce, proof("one.example", "two.example")), "200")
	k.answers(verify("TWO.example", "ONE.EXAMPLE", nonce, proof("one.example", "two.example")), "200")
	k.answers(verify("three.example", "one.example", nonce, proof("one.example", "two.example")), "403")
	k.answers(verify("two.example", "three.example", nonce, proof("three.example", "two.example")), "403")
	k.answers(verify("two.example", "one.example", "fedcba9876543210", proof("one.example", "two.example")), "403")
	k.answers(verify("two.example", "one.example", nonce, b64("")), "403")
	k.answers(verify("two.example", "one.example", "short", proof("one.example", "two.example")), "400")
	k.answers("VERIFY domain=two.example caller=one.example nonce="+b64(nonce), "400")
	k.answers("VERIFY domain=two.example nonce="+b64(nonce)+" data=AAAA", "400")
	conn := dial(t, one.sockets["simp-listen"].Addr().String())
	k = &caller{t, conn, bufio.NewReader(conn)}
	k.line()
	if hello := k.answers("HELLO version=SIMP/1.0", "200"); strings.Contains(hello, "DIALBACK") {
		t.Errorf("offered in clear: %s", hello)
	}
	k.answers(verify("two.example", "one.example", nonce, proof("one.example", "two.example")), "421")
	k.answers("AUTH mech=DIALBACK data="+b64("two.example"), "421")
}
