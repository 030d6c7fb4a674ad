package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"simpd/cmd/testkit/world"
	"simpd/protocol"
	"simpd/protocol/client"

	"simpd/cmd/testkit/site"
)

// globe is sites that find one another by DNS, and who vouches for them.
type globe struct {
	*testing.T
	zone      *world.Zone
	authority *world.Authority
	roots     string // the authority's file
}

func newGlobe(t *testing.T) *globe {
	t.Helper()
	zone, err := world.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(zone.Close)
	authority, err := world.NewAuthority("an authority for tests")
	if err != nil {
		t.Fatal(err)
	}
	g := &globe{T: t, zone: zone, authority: authority}
	if g.roots, err = authority.WriteRoot(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return g
}

// homeSite is a site of one node, in this process, that serves a domain.
type homeSite struct {
	*node
	globe  *globe
	domain string
}

// site starts a site and has DNS name it.
func (g *globe) site(domain string, change func(*config)) *homeSite {
	g.Helper()
	c := g.config(domain)
	if change != nil {
		change(c)
	}
	n, err := startNode(g.Context(), c, slog.New(slog.DiscardHandler), func(string) {})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(n.Kill)
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	if err := n.AwaitReady(ctx); err != nil {
		g.Fatal(err)
	}
	s := &homeSite{n, g, domain}
	g.name(domain, "simp", n.sockets["simp-listen"].Addr())
	return s
}

// config is that of a node that trusts the globe's authority.
func (g *globe) config(domain string) *config {
	g.Helper()
	dir, keys := g.TempDir(), makeKeys(g.T, "n1")
	cert, key, err := g.authority.IssueFiles(dir, domain)
	if err != nil {
		g.Fatal(err)
	}
	c := &config{
		nodeID: "n1", domains: []string{domain}, dataDir: filepath.Join(dir, "data"), timing: "dev",
		simp: "127.0.0.1:0", simps: "127.0.0.1:0", grpc: "127.0.0.1:0", cluster: "127.0.0.1:0", gossip: site.FreeAddress(), bootstrapExpect: 1,
		tlsCerts: []string{cert}, tlsKeys: []string{key}, clusterCA: filepath.Join(keys, "ca.crt"),
		clusterCert: filepath.Join(keys, "node-n1.crt"), clusterKey: filepath.Join(keys, "node-n1.key"), gossipKeys: filepath.Join(keys, "gossip.key"),
		federation: federationConfig{ca: g.roots, dns: g.zone.Addr, routes: map[string]string{"one.example": protocol.ByDNS, "two.example": protocol.ByDNS}},
	}
	if err := setLimits(c, nil); err != nil {
		g.Fatal(err)
	}
	return c
}

// name has DNS lead from a domain to an address.
func (g *globe) name(domain, service string, a net.Addr) {
	host, port, _ := net.SplitHostPort(a.String())
	number, _ := strconv.Atoi(port)
	g.zone.AddSRV(service, domain, 0, 0, uint16(number), "simp."+domain)
	g.zone.AddAddress("simp."+domain, netip.MustParseAddr(host))
}

func (s *homeSite) address(user string) protocol.Address {
	a, err := protocol.ParseAddress(user + "@" + s.domain)
	if err != nil {
		s.globe.Fatal(err)
	}
	return a
}

// person is a user's client, and what it is told.
type person struct {
	*client.Client
	globe    *globe
	messages chan *protocol.Message
	seen     chan protocol.Presence
}

// login makes a user and connects them.
func (s *homeSite) login(user string) *person {
	g := s.globe
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	a := s.address(user)
	if err := s.makeUsers(ctx, []string{a.String()}, testPassword); err != nil {
		g.Fatal(err)
	}
	p := &person{globe: g, messages: make(chan *protocol.Message, 100), seen: make(chan protocol.Presence, 100)}
	c, err := client.Open(ctx, client.Config{
		User: a, Password: testPassword, Server: s.sockets["simp-listen"].Addr().String(), TLS: &tls.Config{RootCAs: g.authority.Roots()},
		OnMessage: func(ctx context.Context, m *protocol.Message) error { return p.take(ctx, m) },
		OnPresence: func(now protocol.Presence) {
			select {
			case p.seen <- now:
			case <-g.Context().Done():
			}
		},
	})
	if err != nil {
		g.Fatal(err)
	}
	p.Client = c
	g.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return p
}

// take keeps a message until the test looks, if there is room.
func (p *person) take(ctx context.Context, m *protocol.Message) error {
	select {
	case p.messages <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *person) listen() {
	p.globe.Helper()
	if _, err := p.Listen(p.globe.Context(), protocol.ListenRequest{State: protocol.Available}); err != nil {
		p.globe.Fatal(err)
	}
}

// says sends a text, and returns what became of it.
func (p *person) says(to protocol.Address, text string) client.Result {
	p.globe.Helper()
	report, err := p.Send(p.globe.Context(), client.Message{To: []protocol.Address{to}, Entity: client.Text(text)})
	if err != nil {
		p.globe.Fatal(err)
	}
	return report.Results[0]
}

// sees waits until a user is seen in a state.
func (p *person) sees(of protocol.Address, state protocol.State) {
	p.globe.Helper()
	limit := time.After(patience)
	for {
		select {
		case now := <-p.seen:
			if now.Address == of && now.State == state {
				return
			}
		case <-limit:
			p.globe.Fatalf("%s is not seen %s", of, state)
		}
	}
}

// allows lets somebody see the user.
func (p *person) allows(who protocol.Address) {
	p.globe.Helper()
	pattern, err := protocol.ParsePattern(who.String())
	if err != nil {
		p.globe.Fatal(err)
	}
	if err := p.SetRule(p.globe.Context(), protocol.Rule{Who: pattern, Presence: protocol.Allow}); err != nil {
		p.globe.Fatal(err)
	}
}

// Users of two sites write to and see one another, whether the sites prove
// themselves by certificate or by dialback.
func TestTwoSites(t *testing.T) {
	for _, way := range []string{"EXTERNAL", "DIALBACK"} {
		t.Run(way, func(t *testing.T) {
			g := newGlobe(t)
			one, two := g.site("one.example", nil), g.site("two.example", nil)
			if way == "DIALBACK" {
				one.partners.certificate = func(string) *tls.Certificate { return nil }
				two.partners.certificate = one.partners.certificate
			}
			alice, bob := one.login("alice"), two.login("bob")
			alice.listen()
			if got := alice.says(bob.User(), "are you there?"); got.Status != protocol.StatusNotListening {
				t.Errorf("to who does not listen: %v", got)
			}
			bob.listen()
			for i := range 3 {
				text := fmt.Sprint("hello ", i)
				if got := alice.says(bob.User(), text); got.Status != protocol.StatusOK {
					t.Fatalf("alice to bob: %v", got)
				}
				if m := receive(t, "bob's message", bob.messages); m.From != alice.User() || string(m.Entity) != "\r\n"+text {
					t.Errorf("bob got %v", m)
				}
				if got := bob.says(alice.User(), text); got.Status != protocol.StatusOK {
					t.Errorf("bob to alice: %v", got)
				}
			}
			bob.allows(alice.User())
			if _, err := alice.Watch(t.Context(), bob.User()); err != nil {
				t.Fatal(err)
			}
			alice.sees(bob.User(), protocol.Available)
			if _, err := bob.SetState(t.Context(), protocol.Busy, nil); err != nil {
				t.Fatal(err)
			}
			alice.sees(bob.User(), protocol.Busy)
			at, err := bob.Query(t.Context(), false, alice.User())
			if err != nil || at[0].State != protocol.Deaf {
				t.Errorf("who is not allowed sees %v %v", at, err)
			}
		})
	}
}

// A site of several domains shows each caller the certificate of the domain
// that it calls, deals with others as each domain's policy says, and passes
// from one to the other without a connection.
func TestSiteOfSeveralDomains(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		cert, key, err := g.authority.IssueFiles(t.TempDir(), "shut.example")
		if err != nil {
			t.Fatal(err)
		}
		c.domains, c.tlsCerts, c.tlsKeys = append(c.domains, "shut.example"), append(c.tlsCerts, cert), append(c.tlsKeys, key)
		c.federation.modes = map[string]protocol.FederationMode{"shut.example": protocol.Closed}
	})
	two := g.site("two.example", func(c *config) { c.federation.routes["shut.example"] = protocol.ByDNS })
	g.name("shut.example", "simp", one.sockets["simp-listen"].Addr())
	shut := &homeSite{one.node, g, "shut.example"}
	alice, carol, bob := one.login("alice"), shut.login("carol"), two.login("bob")
	for _, p := range []*person{alice, carol, bob} {
		p.listen()
	}
	for _, c := range []struct {
		from *person
		to   protocol.Address
		want protocol.Status
	}{
		{alice, carol.User(), 200}, {carol, alice.User(), 200}, {alice, bob.User(), 200}, {bob, alice.User(), 200},
		{carol, bob.User(), 403}, {bob, carol.User(), 502},
	} {
		if got := c.from.says(c.to, "hello"); got.Status != c.want {
			t.Errorf("%s to %s: %v, want %d", c.from.User(), c.to, got, c.want)
		}
	}
}

// What keeps another site from being reached is explained, with what to do.
func TestDomainCheck(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		c.federation.block = map[string][]string{"": {"blocked.example"}}
		for _, d := range []string{"wrong", "dead", "empty"} {
			c.federation.routes[d+".example"] = protocol.ByDNS
		}
	})
	two := g.site("two.example", nil)
	g.name("wrong.example", "simp", two.sockets["simp-listen"].Addr())
	g.zone.AddSRV("simps", "dead.example", 0, 0, 1, "simp.two.example")
	g.zone.AddSRV("simps", "private.example", 0, 0, 7468, "simp.two.example")
	g.zone.AddSRV("simps", "none.example", 0, 0, 0, ".")
	g.zone.Break("_simps._tcp.broken.example")
	for domain, want := range map[string]string{
		"two.example": "proof: it takes this site for one.example, by EXTERNAL", "blocked.example": "policy: ", "empty.example": "address: ",
		"wrong.example": "TLS: its certificate is not accepted: ", "dead.example": "connection: ", "private.example": "address: ", "none.example": "DNS: ", "broken.example": "DNS: ",
	} {
		resp, err := operations{one.node}.CheckDomain(t.Context(), "one.example", domain)
		if err != nil {
			t.Fatal(err)
		}
		last := resp.Check[len(resp.Check)-1]
		if got := last.Step + ": " + last.Text; !strings.HasPrefix(got, want) || resp.Reached != (domain == "two.example") || last.Ok != resp.Reached || (last.Advice == "") != last.Ok {
			t.Errorf("%s: %v %s (%s), want %s", domain, resp.Reached, got, last.Advice, want)
		}
	}
}
