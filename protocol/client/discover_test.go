package client_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

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
				config.Resolver, config.AllowPrivate = outboundtest.Zone{SRV: c.srv, IP: ips, Err: c.err}, c.private
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
		config.Resolver = outboundtest.Zone{IP: map[string]string{"example.com": "9.0.2.9"}}
		err := attempt(t, s, config, func(p *outboundtest.Peer) {
			p.Say("* HELLO version=SIMP/1.0")
			p.Answer("STARTTLS", "405 :unknown verb")
		})
		if !errors.Is(err, client.ErrNoTLS) {
			t.Errorf("%v", err)
		}
	})
}
