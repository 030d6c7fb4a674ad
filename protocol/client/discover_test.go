package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"simpd/protocol/client"
)

// zone plays DNS.
type zone struct {
	srv map[string][]*net.SRV // by service
	ip  map[string]string
	err error // instead of "not found"
}

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if records, ok := z.srv[service+" "+proto+" "+name]; ok {
		return "", records, nil
	}
	if z.err != nil {
		return "", nil, z.err
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z zone) LookupNetIP(_ context.Context, _, host string) (ips []netip.Addr, err error) {
	for ip := range strings.FieldsSeq(z.ip[host]) {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	if ips == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, nil
}

func TestDiscovery(t *testing.T) {
	ips := map[string]string{
		"a.example.net": "9.0.2.1", "b.example.net": "9.0.2.2 2600:db8::2", "example.com": "9.0.2.9",
		"inside.example.net": "10.0.0.1 192.168.1.1 127.0.0.1 ::1 fe80::1 fc00::1 ::ffff:10.1.2.3 169.254.1.1", "half.example.net": "127.0.0.1 9.0.2.3",
	}
	record := func(host string, port uint16) *net.SRV { return &net.SRV{Target: host, Port: port} }
	const simps, simp = "simps tcp example.com", "simp tcp example.com"
	for name, c := range map[string]struct {
		srv     map[string][]*net.SRV
		err     error
		private bool
		want    string
	}{
		"TLS first":        {srv: map[string][]*net.SRV{simps: {record("a.example.net.", 7468)}, simp: {record("b.example.net.", 7467)}}, want: "[9.0.2.1:7468]"},
		"in their order":   {srv: map[string][]*net.SRV{simp: {record("b.example.net.", 1), record("a.example.net.", 2)}}, want: "[9.0.2.2:1 [2600:db8::2]:1 9.0.2.1:2]"},
		"the domain":       {want: "[9.0.2.9:7467]"},
		"no service":       {srv: map[string][]*net.SRV{simps: {record(".", 0)}, simp: {record("a.example.net.", 1)}}, want: "[]"},
		"DNS fails":        {err: errors.New("timeout"), want: "[]"},
		"only inside":      {srv: map[string][]*net.SRV{simp: {record("inside.example.net.", 1)}}, want: "[]"},
		"half inside":      {srv: map[string][]*net.SRV{simp: {record("half.example.net.", 1)}}, want: "[9.0.2.3:1]"},
		"inside, as meant": {srv: map[string][]*net.SRV{simp: {record("inside.example.net.", 1)}}, private: true, want: "[inside.example.net:1]"},
		"unknown host":     {srv: map[string][]*net.SRV{simp: {record("nowhere.example.net.", 1), record("a.example.net.", 1)}}, want: "[9.0.2.1:1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				config := s.config()
				config.Server, config.Security = "", client.AutoTLS
				config.Resolver, config.AllowPrivate = zone{c.srv, ips, c.err}, c.private
				for range cap(s.refuse) {
					s.refuse <- errors.New("nobody there")
				}
				_, err := client.Open(t.Context(), config)
				if got := fmt.Sprint(s.dialled); got != c.want || err == nil {
					t.Errorf("dialled %s, %v; want %s", got, err, c.want)
				}
			})
		})
	}
}

// A server found as simp begins in clear, and gives up without STARTTLS.
func TestDiscoveredServerWantsTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		config.Server, config.Security = "", client.AutoTLS
		config.Resolver = zone{ip: map[string]string{"example.com": "9.0.2.9"}}
		err := attempt(t, s, config, func(p *peer) {
			p.say("* HELLO version=SIMP/1.0")
			p.answer("STARTTLS", "405 :unknown verb")
		})
		if !errors.Is(err, client.ErrNoTLS) {
			t.Errorf("%v", err)
		}
	})
}
