package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/world"
)

// addOtherSite makes what the page "Other sites" is about: the site
// two.example, on which bob listens, and a DNS server that names it, this site,
// and a domain whose home server has another domain's certificate. That all of
// it is on loopback and has an authority of its own is in the nodes'
// configuration, not on the page.
func (o *office) addOtherSite() {
	o.Helper()
	zone, err := world.Serve()
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(zone.Close)
	roots := filepath.Join(o.TempDir(), "roots.crt")
	other := o.startOtherSite(roots, zone.Addr)
	for _, n := range o.site.Nodes {
		publish(o.T, zone, o.site.Domain, n.ID+"."+o.site.Domain, n.SIMPS)
		path := filepath.Join(o.etc(n), "simpd.yaml")
		o.write(path, fileText(o.T, path)+"dns: "+zone.Addr+"\nfederation_ca: "+roots+"\nroute: [two.example=dns, wrong.example=dns]\n")
	}
	publish(o.T, zone, "two.example", "n1.two.example", other.SIMPS)
	publish(o.T, zone, "wrong.example", "n1.two.example", other.SIMPS)
	o.env = append(o.env, "SIMP_DNS="+zone.Addr, "SIMP_TLS_CA="+roots)
}

// startOtherSite starts two.example, with bob listening, and writes to roots
// whom both sites trust.
func (o *office) startOtherSite(roots, dns string) *site.Node {
	o.Helper()
	s, err := site.New(site.Config{
		Bin: o.site.Config.Bin, Dir: o.TempDir(), Nodes: 1, Domain: "two.example", Password: testPassword,
		Flags: []string{"--federation-ca", roots, "--dns", dns, "--route", o.site.Domain + "=dns"},
	})
	o.Cleanup(func() { _ = s.Close() })
	if err != nil {
		o.Fatal(err)
	}
	o.write(roots, fileText(o.T, s.CA)+fileText(o.T, o.site.CA))
	if err := s.BeginAll(); err != nil {
		o.Fatal(err)
	}
	n := s.Nodes[0]
	if err := s.AddUsers(n, "bob"); err != nil {
		o.Fatal(err)
	}
	bob, err := s.Start("simp", append(s.Person(n, "bob"), "listen")...)
	if err == nil {
		_, _, err = bob.Await(0, "listening")
	}
	if err != nil {
		o.Fatal(err)
	}
	return n
}

// publish has DNS name the home server of a domain.
func publish(t *testing.T, zone *world.Zone, domain, host, address string) {
	t.Helper()
	ip, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(port)
	zone.AddSRV("simps", domain, 10, 10, uint16(number), host)
	zone.AddAddress(host, netip.MustParseAddr(ip))
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
