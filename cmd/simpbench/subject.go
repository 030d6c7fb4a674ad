//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"simpd/cmd/simpbench/host"
	"simpd/cmd/simpbench/load"
)

// The subjects: what is measured. A site of three is named with its size.
const (
	relayName = "relay"
	simpdName = "simpd"
)

// subject is a server, or a site of several, that is running.
type subject struct {
	name    string
	dialect load.Dialect
	nodes   []*host.Process
	at      []netip.AddrPort // where clients connect, by node
	dir     string
	control control // of a site; zero for the relay
	secure  netip.AddrPort
	tls     *tls.Config // for clients at secure; nil: there is no TLS
}

// cpu returns the processor time that all nodes together have used.
func (s *subject) cpu() (sum time.Duration, err error) {
	for _, n := range s.nodes {
		used, err := n.CPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// stop ends the nodes and removes what they wrote.
func (s *subject) stop() {
	for _, n := range s.nodes {
		n.Kill()
	}
	s.control.close()
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// startRelay starts this very program as the relay.
func (b *bench) startRelay(ctx context.Context, oneway bool) (*subject, error) {
	dir, err := os.MkdirTemp(b.dir, "simpbench-relay-")
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	s := &subject{name: relayName, dialect: load.Relay{Oneway: oneway}, dir: dir}
	if err := b.runRelay(ctx, s); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (b *bench) runRelay(ctx context.Context, s *subject) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	ports, err := host.Ports(1)
	if err != nil {
		return err
	}
	s.at = []netip.AddrPort{loopback(ports[0])}
	p, err := host.Start(host.Command{Name: "the relay", Path: self, Args: []string{"relay", "--listen", s.at[0].String()},
		CPUs: b.servers, Log: filepath.Join(s.dir, "log")})
	if err != nil {
		return err
	}
	s.nodes = []*host.Process{p}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.Await(ctx, func(context.Context) error { return canConnect(s.at[0]) })
}

// startTimeout bounds how long a server may take until it is ready.
const startTimeout = 30 * time.Second

func canConnect(at netip.AddrPort) error {
	c, err := net.DialTimeout("tcp4", at.String(), time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// source returns the loopback address that user number n connects from: a
// site bounds the connections from one address, and more so while they are
// not authenticated, so users that follow one another have different ones.
func source(n int) netip.Addr {
	const addresses = 200
	return netip.AddrFrom4([4]byte{127, 1, 0, byte(1 + n%addresses)})
}
