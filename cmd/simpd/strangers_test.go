package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"simpd/cmd/simpd/world"
	"simpd/protocol"
)

// caller is a connection that a test makes by hand, as another site's server
// or whoever says to be one.
type caller struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

// call connects to a site, showing a certificate if it is not nil.
func (s *homeSite) call(show *tls.Certificate) *caller {
	t := s.globe.T
	t.Helper()
	c := &tls.Config{RootCAs: s.globe.authority.Roots(), ServerName: s.domain, NextProtos: []string{"simp"}}
	if show != nil {
		c.Certificates = []tls.Certificate{*show}
	}
	conn := tls.Client(dial(t, s.sockets["simps-listen"].Addr().String()), c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	k := &caller{t, conn, bufio.NewReader(conn)}
	k.line()
	return k
}

func (c *caller) line() string {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// ask makes a request and returns the lines of its answer.
func (c *caller) ask(request string) []string {
	c.Helper()
	if _, err := io.WriteString(c.Conn, "t "+request); err != nil {
		c.Fatal(err)
	}
	if !strings.HasSuffix(request, "\n") && !strings.Contains(request, "}\r\n") {
		_, _ = io.WriteString(c.Conn, "\r\n")
	}
	var lines []string
	for {
		line := c.line()
		if strings.HasPrefix(line, "t ") {
			lines = append(lines, line[2:])
		}
		if strings.HasPrefix(line, "t ") && !strings.HasPrefix(line, "t 1") {
			return lines
		}
	}
}

// answers makes a request and checks the status of its final answer.
func (c *caller) answers(request, status string) string {
	c.Helper()
	lines := c.ask(request)
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, status) {
		c.Errorf("%.120s: %s, want %s", request, last, status)
	}
	return last
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// enters proves a domain by certificate.
func (s *homeSite) enters(cert *tls.Certificate, domain string) *caller {
	s.globe.Helper()
	c := s.call(cert)
	if hello := c.answers("HELLO version=SIMP/1.0", "200"); !strings.Contains(hello, "EXTERNAL,DIALBACK") {
		c.Errorf("it offers %s", hello)
	}
	if said := c.answers("AUTH mech=EXTERNAL data="+b64(domain), "200"); !strings.Contains(said, "domain="+domain) {
		c.Errorf("AUTH answers %s", said)
	}
	return c
}

func (g *globe) issue(o world.Order) *tls.Certificate {
	g.Helper()
	c, err := g.authority.Issue(o)
	if err != nil {
		g.Fatal(err)
	}
	return &c
}

// S2: a domain is proved by a subject alternative name of a certificate that
// is trusted and valid now, for a server or a client, and by nothing else.
func TestS2OnlyACertificateOfTheDomainProvesIt(t *testing.T) {
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

// S1, S5: a sender's address is what was proved. A user can't choose it, and
// a domain can't claim another's; nothing else that is said of a sender comes
// through.
func TestS1S5SendersAreWhoTheyProvedToBe(t *testing.T) {
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

// S3, S6: a dialback counts only if the domain's home server, whose certificate
// is the domain's, says so; not where a certificate is demanded.
func TestS3S6Dialback(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) { c.federation.external = map[string][]string{"": {"strict.example"}} })
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
	one.partners.rules.Load().Routes["victim.example"] = protocol.ByDNS
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

// S22: what a stranger is refused looks the same, octet for octet, whether there
// is no such user, or they do not listen, or they blocked the stranger; and the
// same look-ups were made.
func TestS22RefusalsLookAlike(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	_, blocking := one.login("quiet"), one.login("blocking")
	blocking.listen()
	pattern, err := protocol.ParsePattern("@two.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := blocking.SetRule(t.Context(), protocol.Rule{Who: pattern, Message: protocol.Deny, Presence: protocol.Deny}); err != nil {
		t.Fatal(err)
	}
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	var first string
	var looks uint64
	for _, user := range []string{"quiet", "blocking", "nobody"} {
		before := one.router.Looks()
		said := k.ask("SEND from=eve@two.example id=x to=" + user + "@one.example {2}\r\nhi")
		made := one.router.Looks() - before
		got := strings.ReplaceAll(fmt.Sprint(said), user, "USER")
		if first == "" {
			first, looks = got, made
		}
		if got != first || !strings.HasPrefix(said[0], "480 ") {
			t.Errorf("%s: %s, not %s", user, got, first)
		}
		if made != looks || made == 0 {
			t.Errorf("%s: %d look-ups, not %d", user, made, looks)
		}
	}
	first = ""
	for _, verb := range []string{"QUERY", "WATCH"} {
		for _, user := range []string{"quiet", "blocking", "nobody"} {
			got := strings.ReplaceAll(fmt.Sprint(k.ask(verb+" by=eve@two.example ima="+user+"@one.example")), user, "USER")
			if first == "" {
				first = got
			}
			if got != first || !strings.Contains(got, "state=deaf") {
				t.Errorf("%s: %s, not %s", user, got, first)
			}
		}
	}
}

// S23: a stranger may write to thirty recipients a minute that are new to them.
func TestS23StrangersAreSlowedDown(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	send := func(from string, n int) string {
		return fmt.Sprintf("SEND from=%s@two.example to=u%d@one.example {2}\r\nhi", from, n)
	}
	for i := range 30 {
		k.answers(send("eve", i), "480")
	}
	if said := k.answers(send("eve", 30), "429"); !strings.Contains(said, "retry=60") {
		t.Errorf("%s", said)
	}
	k.answers(send("EVE", 31), "429")
	k.answers(send("eve", 3), "480") // not new any more
	k.answers(send("mallory", 30), "480")
	n := 0
	for ; n < 400; n++ { // senders that are made up
		if strings.HasPrefix(k.ask(send(fmt.Sprint("m", n), 1000+n))[0], "429") {
			break
		}
	}
	if n > 300 {
		t.Errorf("%d recipients were tried in a minute", n)
	}
}

// S24: one change is one line for as many watchers as it can name, and what
// waits for a site that does not read is the newest alone.
func TestS24OneChangeManyWatchers(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	bob := one.login("bob")
	pattern, _ := protocol.ParsePattern("@two.example")
	if err := bob.SetRule(t.Context(), protocol.Rule{Who: pattern, Presence: protocol.Allow}); err != nil {
		t.Fatal(err)
	}
	bob.listen()
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	const watchers = 10_000
	for i := 0; i < watchers; i += 100 {
		var by strings.Builder
		for j := range 100 {
			fmt.Fprintf(&by, " by=w%d@two.example", i+j)
		}
		k.answers("WATCH ima=bob@one.example"+by.String(), "200")
	}
	k.answers("WATCH ima=bob@one.example by=more@two.example", "413")
	const changes = 100
	for i := range changes {
		if _, err := bob.SetState(t.Context(), []protocol.State{protocol.Busy, protocol.Away}[i%2], nil); err != nil {
			t.Fatal(err)
		}
	}
	lines, told := 0, map[string]string{}
	for len(told) < watchers || !allAre(told, "away") {
		line := k.line()
		var l protocol.Line
		if err := protocol.ParseLine(line, &l); err != nil || l.Verb != "PRESENCE" {
			continue
		}
		lines++
		state, _ := l.Get("state")
		for _, p := range l.Params {
			if p.Key == "by" {
				told[p.Value] = state
			}
		}
	}
	if lines > changes*watchers/50 {
		t.Errorf("%d lines for %d changes and %d watchers", lines, changes, watchers)
	}
}

func allAre(told map[string]string, state string) bool {
	for _, s := range told {
		if s != state {
			return false
		}
	}
	return true
}

// A user's QUERY of another site that is silent keeps nothing else on the
// connection waiting.
func TestForeignQueryKeepsNobodyWaiting(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	g.name("two.example", "simp", hole.Addr())
	one.login("alice")
	k := one.call(nil)
	k.answers("HELLO version=SIMP/1.0", "200")
	k.answers("AUTH mech=PLAIN data="+b64("\x00alice@one.example\x00"+testPassword), "200")
	began := time.Now()
	_, _ = io.WriteString(k.Conn, "q QUERY ima=bob@two.example\r\n")
	k.answers("PING", "200")
	if took := time.Since(began); took > time.Second {
		t.Errorf("PING was answered after %v", took)
	}
	for line := k.line(); !strings.HasPrefix(line, "q 200"); line = k.line() {
		if strings.HasPrefix(line, "q 100") && !strings.Contains(line, "state=unknown") {
			t.Errorf("%s", line)
		}
	}
}

// Whom the operator blocks is hung up on, and not taken again.
func TestPolicyIsReadAgain(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	cert := g.issue(world.Order{Names: []string{"two.example"}})
	k := one.enters(cert, "two.example")
	changed := one.conf.federation
	changed.block = map[string][]string{"": {"two.example"}}
	if err := one.reloadPartners(&changed); err != nil {
		t.Fatal(err)
	}
	if line := k.line(); !strings.HasPrefix(line, "* BYE status=403") {
		t.Errorf("it says %s", line)
	}
	k = one.call(cert)
	k.answers("HELLO version=SIMP/1.0", "200")
	k.answers("AUTH mech=EXTERNAL data="+b64("two.example"), "403")
	k.answers("AUTH mech=DIALBACK data="+b64("two.example"), "403")
	changed.modes = map[string]protocol.FederationMode{"one.example": protocol.Closed}
	if err := one.reloadPartners(&changed); err != nil {
		t.Fatal(err)
	}
	k = one.call(cert)
	if hello := k.answers("HELLO version=SIMP/1.0", "200"); strings.Contains(hello, "EXTERNAL") || strings.Contains(hello, "DIALBACK") {
		t.Errorf("closed, and it offers %s", hello)
	}
}
