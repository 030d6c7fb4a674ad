// Package dns looks up servers: at one DNS server, or as package net does.
package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// Resolver is the part of *net.Resolver that finding servers takes.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Server is a Resolver that asks one server. Its errors name that server,
// where those of package net name the system's.
type Server struct {
	address  string
	resolver *net.Resolver
}

// NewServer returns a Resolver that asks the server at address, a host:port.
func NewServer(address string) *Server {
	return &Server{address, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
}

// LookupSRV returns records in the order to try them.
func (s *Server) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	cname, records, err := s.resolver.LookupSRV(ctx, service, proto, name)
	return cname, records, s.named(err)
}

// LookupNetIP returns the addresses of a host.
func (s *Server) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	ips, err := s.resolver.LookupNetIP(ctx, network, host)
	return ips, s.named(err)
}

// named has an error of a look-up name the server that was asked.
func (s *Server) named(err error) error {
	dns, ok := errors.AsType[*net.DNSError](err)
	if !ok || dns.Server == "" {
		return err
	}
	named := *dns
	named.Server = s.address
	return &named
}
