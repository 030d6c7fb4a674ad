package main

import (
	"net"
	"testing"

	"simpd/cluster"
	"simpd/cluster/link"
	"simpd/protocol"
)

// fixedListener is a listener at an address that this machine need not have.
type fixedListener struct {
	net.Listener
	address string
}

func (l fixedListener) Addr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", l.address)
	if err != nil {
		panic(err)
	}
	return a
}

// TestClientAddresses: MOVE names what clients reach, for all that the node
// knows; else nothing, and the setting that would say it is named.
func TestClientAddresses(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		simp, simps, cluster string
		args                 []string
		plain, tls           string // what MOVE tells; empty: nothing
		unset                string
		unsetTLS, toldInside string
	}{
		{name: "as listened at", simp: "203.0.113.1:7467", simps: "203.0.113.1:7468", cluster: "10.0.0.1:7470",
			plain: "203.0.113.1:7467", tls: "203.0.113.1:7468"},
		{name: "every address", simp: "0.0.0.0:7467", simps: "[::]:7468", cluster: "10.0.0.1:7470",
			unset: "advertise_client", unsetTLS: "advertise_client_tls", toldInside: "10.0.0.1:7467"},
		{name: "a container", simp: "0.0.0.0:7467", simps: "0.0.0.0:7468", cluster: "0.0.0.0:7470", args: []string{"--advertise=n3"},
			unset: "advertise_client", unsetTLS: "advertise_client_tls", toldInside: "n3:7467"},
		{name: "a container with mapped ports", simp: "0.0.0.0:7467", simps: "0.0.0.0:7468", cluster: "0.0.0.0:7470",
			args:  []string{"--advertise=n3", "--advertise-client=chat.example.com:7567"},
			plain: "chat.example.com:7567", unsetTLS: "advertise_client_tls"},
		{name: "a container with both ports mapped", simp: "0.0.0.0:7467", simps: "0.0.0.0:7468", cluster: "0.0.0.0:7470",
			args:  []string{"--advertise=n3", "--advertise-client=chat.example.com:7567", "--advertise-client-tls=chat.example.com:7568"},
			plain: "chat.example.com:7567", tls: "chat.example.com:7568"},
		{name: "the ports as they are", simp: "0.0.0.0:7467", simps: "0.0.0.0:7468", cluster: "10.0.0.1:7470",
			args:  []string{"--advertise-client=n1.example.com:7467"},
			plain: "n1.example.com:7467", tls: "n1.example.com:7468"},
		{name: "TLS alone", simps: "0.0.0.0:7468", cluster: "10.0.0.1:7470", args: []string{"--advertise-client=n1.example.com:7468"},
			tls: "n1.example.com:7468"},
		{name: "a balancer that is said", simp: "0.0.0.0:7467", simps: "0.0.0.0:7468", cluster: "10.0.0.1:7470",
			args: []string{"--advertise-client=off"}},
		{name: "a balancer in front", simp: "10.0.0.1:7467", simps: "10.0.0.1:7468", cluster: "10.0.0.1:7470",
			args: []string{"--proxy-protocol=10.0.0.0/8"}},
		{name: "a host that others reach elsewhere", simp: "10.0.0.1:7467", cluster: "10.0.0.1:7470", args: []string{"--advertise=203.0.113.1"},
			unset: "advertise_client", toldInside: "203.0.113.1:7467"},
		{name: "two networks", simp: "203.0.113.1:7467", cluster: "10.0.0.1:7470", args: []string{"--advertise=n1.internal"},
			plain: "203.0.113.1:7467"},
		{name: "this machine's programs", simp: "127.0.0.1:7467", simps: "203.0.113.1:7468", cluster: "10.0.0.1:7470",
			tls: "203.0.113.1:7468", toldInside: "10.0.0.1:7467"},
		{name: "a site on loopback", simp: "127.0.0.1:7467", cluster: "127.0.0.1:7470", plain: "127.0.0.1:7467"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := loadWith(t, "", nil, tt.args...) // the rest of the configuration is not needed
			s := sockets{}
			for option, address := range map[string]string{"simp-listen": tt.simp, "simps-listen": tt.simps, "cluster-listen": tt.cluster} {
				if address != "" {
					s[option] = fixedListener{address: address}
				}
			}
			simp, simps := addressFinder{c, s}.findClientAddresses()
			to := target{Member: link.Member{ClientAddr: simp.address, ClientGuessed: simp.guessed, SIMPSAddr: simps.address, SIMPSGuessed: simps.guessed}}
			if plain, tls := to.address(protocol.PlainTCP), to.address(protocol.TLS); plain != tt.plain || tls != tt.tls {
				t.Errorf("MOVE tells %q and %q, want %q and %q", plain, tls, tt.plain, tt.tls)
			}
			if simp.unset != tt.unset || simps.unset != tt.unsetTLS {
				t.Errorf("unset: %q and %q, want %q and %q", simp.unset, simps.unset, tt.unset, tt.unsetTLS)
			}
			if tt.toldInside != "" && simp.address != tt.toldInside {
				t.Errorf("older versions are told %q, want %q", simp.address, tt.toldInside)
			}
			if (tt.simp == "") != (simp.address == "") || (tt.simps == "") != (simps.address == "") {
				t.Errorf("older versions are told %+v and %+v", simp, simps)
			}
		})
	}
}

// TestTargets: whoever takes clients is given some, and no client is told an
// address that is none.
func TestTargets(t *testing.T) {
	tls := cluster.NodeStatus{Answers: true, Member: link.Member{ID: "n2", SIMPSAddr: "203.0.113.2:7468"}}
	if !isEligible(&tls) {
		t.Error("a node without simp-listen is given no clients")
	}
	old := target{Member: link.Member{ID: "n3", ClientAddr: "0.0.0.0:7467", SIMPSAddr: "[::]:7468"}}
	guessed := target{Member: link.Member{ID: "n4", ClientAddr: "n4:7467", ClientGuessed: true, SIMPSAddr: "n4:7468", SIMPSGuessed: true}}
	for _, tt := range []struct {
		nodes []target
		over  protocol.Transport
		want  string
	}{
		{[]target{{Member: tls.Member, connections: 9}, old, guessed}, protocol.TLS, "203.0.113.2:7468"},
		{[]target{{Member: tls.Member}}, protocol.PlainTCP, ""},
		{[]target{old}, protocol.PlainTCP, ""},
		{[]target{old}, protocol.TLS, ""},
		{[]target{guessed}, protocol.PlainTCP, ""},
		{[]target{guessed}, protocol.TLS, ""},
		{[]target{{Member: tls.Member}}, protocol.WebSocket, ""},
	} {
		if to, ok := (&targets{nodes: tt.nodes}).next(tt.over); to != tt.want || !ok {
			t.Errorf("%v by transport %v: %q, %v; want %q", tt.nodes, tt.over, to, ok, tt.want)
		}
	}
	if _, ok := (&targets{}).next(protocol.TLS); ok {
		t.Error("a client is sent away although no node takes one")
	}
}
