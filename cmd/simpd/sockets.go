package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// sockets are the listeners of a node, by their option.
type sockets map[string]net.Listener

// listenAll takes those of the addresses that are not taken yet, or none and says
// which one is not to be had. Gossip takes its own, TCP and UDP.
func (s sockets) listenAll(ctx context.Context, all []named) error {
	opened := sockets{}
	for _, l := range all {
		if s[l.option] != nil || l.option == "gossip-listen" {
			continue
		}
		socket, err := listenTCP(ctx, l.address)
		if err != nil {
			opened.close()
			return listenError(l, err)
		}
		opened[l.option] = socket
	}
	maps.Copy(s, opened)
	return nil
}

// listenTCP takes an address for TCP alone: over several paths the kernel does
// not tell how long what was sent has not been acknowledged.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := raiseBacklog(l); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// tryGossip finds out whether gossip's address is free.
func (c *config) tryGossip(ctx context.Context) error {
	var plain net.ListenConfig
	tcp, err := plain.Listen(ctx, "tcp", c.gossip)
	if err != nil {
		return listenError(named{"gossip-listen", c.gossip}, err)
	}
	defer tcp.Close()
	udp, err := plain.ListenPacket(ctx, "udp", c.gossip)
	if err != nil {
		return listenError(named{"gossip-listen", c.gossip}, err)
	}
	return udp.Close()
}

func listenError(l named, err error) error {
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

// advertisedAddr returns the address of a listener that others are told; empty if it is off.
func (s sockets) advertisedAddr(option, advertise string) string {
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

// resolveAddr makes of HOST:PORT an address: of a name's the first of IPv4, or else
// of IPv6. Without a host the address is the zero one.
func resolveAddr(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(number)), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	best := found[0].Unmap()
	for _, a := range found {
		if a = a.Unmap(); a.Is4() {
			best = a
			break
		}
	}
	return netip.AddrPortFrom(best, uint16(number)), nil
}

// joinPort puts a host in front of the port of an address.
func joinPort(host, hostport string) string {
	_, port, _ := net.SplitHostPort(hostport)
	return net.JoinHostPort(host, port)
}

// thisMachine returns the loopback networks, which are exempt from the limits by
// source: local programs, and clients behind a local proxy.
func thisMachine() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
