package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// sockets are the listeners of a node, by their option. They are all taken
// before anything else is begun, so that a taken port is found out before
// anything is changed.
type sockets map[string]net.Listener

// listen takes every address, or none and says which one is not to be had.
func (c *config) listen() (sockets, error) {
	s := sockets{}
	for _, l := range c.listenAddresses() {
		if l.option == "gossip-listen" {
			continue // membership takes its own, TCP and UDP
		}
		socket, err := listenTCP(l.address)
		if err != nil {
			s.close()
			return nil, unlistened(l, err)
		}
		s[l.option] = socket
	}
	if err := c.tryGossip(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// listenTCP takes an address for TCP alone: over several paths the kernel does
// not tell how long what was sent has not been acknowledged.
func listenTCP(address string) (net.Listener, error) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	return plain.Listen(context.Background(), "tcp", address)
}

// tryGossip finds out whether gossip's address is free.
func (c *config) tryGossip() error {
	tcp, err := net.Listen("tcp", c.gossip)
	if err != nil {
		return unlistened(named{"gossip-listen", c.gossip}, err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", c.gossip)
	if err != nil {
		return unlistened(named{"gossip-listen", c.gossip}, err)
	}
	return udp.Close()
}

func unlistened(l named, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--%s %s: another program listens there already", l.option, l.address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--%s %s: this user may not listen there", l.option, l.address)
	}
	return fmt.Errorf("--%s %s: %w", l.option, l.address, err)
}

func (s sockets) close() {
	for _, l := range s {
		_ = l.Close()
	}
}

// public is what others are told to reach a listener at; empty if it is off.
func (s sockets) public(option, advertise string) string {
	l := s[option]
	if l == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return ""
	}
	if advertise != "" {
		host = advertise
	}
	return net.JoinHostPort(host, port)
}

// resolve makes of HOST:PORT an address; a name's first will do.
func resolve(hostport string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)), nil
}

// joinPort puts a host in front of the port of an address.
func joinPort(host, hostport string) string {
	_, port, _ := net.SplitHostPort(hostport)
	return net.JoinHostPort(host, port)
}

// thisMachine is where connections come from that no limit by source holds
// for: programs of this machine, and all who come through one of them.
func thisMachine() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
