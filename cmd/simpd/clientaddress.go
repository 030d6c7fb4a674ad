package main

import (
	"net"

	"simpd/cluster/link"
)

// clientAddress is the address at which clients reach one of a node's listeners.
type clientAddress struct {
	address string // empty: there is no such listener
	// guessed: other nodes reach the host there, and clients perhaps not. MOVE
	// does not name it.
	guessed bool
	// unset is the setting that would say it; empty: it is known, or nobody
	// would use it.
	unset string
}

// addressFinder finds out where clients reach a node from its settings and its
// sockets.
type addressFinder struct {
	*config
	sockets sockets
}

// findClientAddresses returns where clients reach simp-listen and simps-listen. It is known
// from the settings, or where clients can reach nothing but the address itself:
// 0.0.0.0 is every address of the machine, and what other nodes are told
// (advertise) may be a name inside, as a container's is.
func (f addressFinder) findClientAddresses() (simp, simps clientAddress) {
	simp = f.addressOfListener("simp-listen", f.advertiseClient, "advertise_client")
	simps = f.addressOfListener("simps-listen", f.advertiseClientTLS, "advertise_client_tls")
	if simps.address == "" || f.advertiseClientTLS != "" || f.advertiseClient == "" {
		return simp, simps
	}
	if f.advertiseClient == off {
		return simp, clientAddress{address: simps.address, guessed: true}
	}
	host, port, _ := net.SplitHostPort(f.advertiseClient)
	if port == f.portOf("simp-listen") || port == f.portOf("simps-listen") {
		return simp, clientAddress{address: net.JoinHostPort(host, f.portOf("simps-listen"))}
	}
	// The ports are mapped, and nothing says which one is for TLS.
	return simp, clientAddress{address: simps.address, guessed: true, unset: "advertise_client_tls"}
}

// addressOfListener finds where clients reach a listener by the setting for it, and
// otherwise by where it listens.
func (f addressFinder) addressOfListener(option, setting, name string) clientAddress {
	host, port, ok := f.splitOption(option)
	switch {
	case !ok:
		return clientAddress{}
	case setting != "" && setting != off:
		return clientAddress{address: setting}
	case setting == off:
		return clientAddress{address: f.advertisedHost(port), guessed: true}
	case f.isLocal(option):
		return clientAddress{address: f.advertisedHost(port), guessed: true}
	case f.isPlain(option, host):
		return clientAddress{address: net.JoinHostPort(host, port)}
	case len(f.proxies) > 0:
		return clientAddress{address: f.advertisedHost(port), guessed: true} // the balancer chooses
	}
	return clientAddress{address: f.advertisedHost(port), guessed: true, unset: name}
}

// isPlain reports whether clients reach a listener where it listens, for all
// that is known here.
func (f addressFinder) isPlain(option, host string) bool {
	if isUnspecified(net.JoinHostPort(host, "0")) || len(f.proxies) > 0 {
		return false
	}
	within, _, _ := f.splitOption("cluster-listen")
	return f.advertise == "" || f.advertise == host || within != host // else other nodes reach that host elsewhere
}

// isLocal reports whether only this machine's programs reach a listener, of a
// node that other machines reach.
func (f addressFinder) isLocal(option string) bool {
	return isLoopback(f.sockets[option].Addr().String()) && !isLoopback(f.sockets.advertisedAddr("cluster-listen", f.advertise))
}

// advertisedHost is the port at the host where other nodes reach this one.
func (f addressFinder) advertisedHost(port string) string {
	host, _, _ := net.SplitHostPort(f.sockets.advertisedAddr("cluster-listen", f.advertise))
	return net.JoinHostPort(host, port)
}

func (f addressFinder) splitOption(option string) (host, port string, ok bool) {
	l := f.sockets[option]
	if l == nil {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	return host, port, err == nil
}

func (f addressFinder) portOf(option string) string {
	_, port, _ := f.splitOption(option)
	return port
}

// clientAddresses returns where clients reach the node.
func (n *node) clientAddresses() (simp, simps clientAddress) {
	return addressFinder{n.conf, n.sockets}.findClientAddresses()
}

// setClientAddresses has other nodes told where clients reach this one.
func (n *node) setClientAddresses(m *link.Member) {
	simp, simps := n.clientAddresses()
	m.ClientAddr, m.ClientGuessed = simp.address, simp.guessed
	m.SIMPSAddr, m.SIMPSGuessed = simps.address, simps.guessed
}

// unsetAddresses returns the settings without which this node does not know
// where clients reach it.
func (n *node) unsetAddresses() (settings []string) {
	simp, simps := n.clientAddresses()
	for _, a := range []clientAddress{simp, simps} {
		if a.unset != "" {
			settings = append(settings, a.unset)
		}
	}
	return settings
}
