package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// ground holds what attackers know of the site: its addresses, and their own accounts.
// The laboratory writes it for the attackers' process.
type ground struct {
	Domain, Password string
	CA               string // that the site's certificate is of
	Keys             string // the folder of what secures the cluster
	Nodes            []place
	Hostile          hostileFiles

	trust   *tls.Config
	clients clients
	hostile shared
	dns     shared
	site    *hostileSite // once hostile has begun
}

// place holds the IPv4 addresses at which a node listens.
type place struct{ ID, SIMP, SIMPS, WS, GRPC, Cluster, Gossip, HTTP, Six string }

// hostileFiles are of another site, which the site finds by a static route.
type hostileFiles struct{ Domain, Address, Cert, Key, DNS string }

// Where everybody comes from: honest users each from a network of their own,
// attackers from one of IPv4 and one of IPv6, and a swarm from many.
const (
	honestNetwork  = "10.84.0.0/16"
	attackNetwork  = "10.85.9.0/24"
	swarmNetwork   = "10.86.0.0/16"
	attackSix      = "fd85::/64"
	ipv6FreeBind   = 78 // IPV6_FREEBIND of Linux
	groundFileName = "ground.json"
)

func honestSource(i int) net.Addr { return source(fmt.Sprintf("10.84.%d.%d", i%250, 1+i/250)) }
func attackSource(i int) net.Addr { return source(fmt.Sprintf("10.85.9.%d", 1+i%250)) }
func swarmSource(i int) net.Addr  { return source(fmt.Sprintf("10.86.%d.7", i%250)) }
func sixSource(i int) net.Addr    { return source(fmt.Sprintf("fd85::%x:%x", 1+i>>16, i&0xffff)) }

func source(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip)} }

// freeBind allows addresses that no interface has, but the routes lead here.
func freeBind(network, _ string, c syscall.RawConn) (err error) {
	if network != "tcp6" {
		return nil
	}
	if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, ipv6FreeBind, 1) }); e != nil {
		return e
	}
	return err
}

func (g *ground) write(dir string) (file string, err error) {
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, groundFileName)
	return file, os.WriteFile(file, text, 0o600)
}

func readGround(file string) (*ground, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	g := &ground{}
	if err := json.Unmarshal(text, g); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	g.trust, err = trustIn(g.CA, g.Domain)
	return g, err
}

// trustIn returns the TLS settings with which a client trusts the site.
func trustIn(ca, domain string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	return &tls.Config{RootCAs: roots, ServerName: domain, NextProtos: []string{"simp"}}, nil
}

func (g *ground) address(user string) string { return user + "@" + g.Domain }

// node is node number i of as many as there are, around.
func (g *ground) node(i int) place { return g.Nodes[i%len(g.Nodes)] }
