//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"simpd/cmd/simpbench/host"
	"simpd/cmd/simpbench/load"
)

const domain = "bench.example"

// portsEach is the number of ports of a node, each with the next one free: SIMP,
// gRPC, cluster, gossip, HTTP, and SIMP over TLS.
const portsEach = 6

// plan is one node before it starts.
type plan struct {
	id   string
	dir  string
	port []int        // portsEach
	cert *certificate // nil: no TLS
}

func (p *plan) simp() netip.AddrPort  { return loopback(p.port[0]) }
func (p *plan) grpc() string          { return loopback(p.port[1]).String() }
func (p *plan) gossip() string        { return loopback(p.port[3]).String() }
func (p *plan) http() string          { return loopback(p.port[4]).String() }
func (p *plan) simps() netip.AddrPort { return loopback(p.port[5]) }

// startSite starts a site with so many accounts.
func (b *bench) startSite(ctx context.Context, at stage, users int) (*subject, error) {
	s, err := b.emptySite(at)
	if err != nil {
		return nil, err
	}
	if err := b.runSite(ctx, s, at, users); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (b *bench) emptySite(at stage) (*subject, error) {
	password, err := load.NewPassword()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "simpbench-site-")
	if err != nil {
		return nil, fmt.Errorf("start a site: %w", err)
	}
	return &subject{name: at.name(), dir: dir, dialect: &load.SIMP{Domain: domain, Password: password}}, nil
}

func siteName(n int) string { return simpdName + "×" + strconv.Itoa(n) }

func (b *bench) runSite(ctx context.Context, s *subject, at stage, users int) error {
	plans, err := s.plan(at)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, p := range plans {
		node, err := host.Start(host.Command{Name: "node " + p.id, Path: b.simpd, Args: b.arguments(p, plans),
			CPUs: b.servers, Log: p.dir + ".log"})
		if err != nil {
			return err
		}
		s.nodes, s.at = append(s.nodes, node), append(s.at, p.simp())
	}
	for i, p := range plans {
		if err := s.nodes[i].Await(ctx, func(ctx context.Context) error { return ready(ctx, p.http()) }); err != nil {
			return err
		}
	}
	if s.control, err = dialControl(plans); err != nil {
		return err
	}
	return s.importAccounts(ctx, users)
}

func (s *subject) plan(at stage) ([]*plan, error) {
	ports, err := host.Ports(at.nodes * portsEach)
	if err != nil {
		return nil, err
	}
	var plans []*plan
	for i := range at.nodes {
		plans = append(plans, &plan{id: nodeID(i), dir: filepath.Join(s.dir, nodeID(i)), port: ports[i*portsEach : (i+1)*portsEach]})
	}
	if !at.tls {
		return plans, nil
	}
	cert, err := newCertificate(s.dir)
	if err != nil {
		return nil, err
	}
	plans[0].cert, s.secure, s.tls = cert, plans[0].simps(), cert.client
	return plans, nil
}

func nodeID(n int) string { return "n" + strconv.Itoa(n+1) }

// arguments returns the arguments that node p of the site is started with.
func (b *bench) arguments(p *plan, all []*plan) []string {
	args := []string{"serve", "--insecure", "--node-id", p.id, "--data-dir", p.dir, "--domain", domain,
		"--simp-listen", p.simp().String(), "--grpc-listen", p.grpc(),
		"--cluster-listen", loopback(p.port[2]).String(), "--gossip-listen", p.gossip(),
		"--http-listen", p.http(), "--bootstrap-expect", strconv.Itoa(len(all)), "--drain-timeout", "1s",
		"--limit=changes=off", "--limit=commands=off", "--limit=messages=off", "--limit=messages-by-source=off", "--limit=messages-by-domain=off",
		"--limit=messages-by-program=off", "--limit=first-contacts-local=off", "--limit=first-contacts-by-source=off", "--limit=first-contacts-by-program=off",
		"--limit=watches=off", "--limit=watches-by-source=off", "--limit=logins=off", "--limit=logins-by-source=off"}
	for _, other := range all {
		if other != p {
			args = append(args, "--join", other.gossip())
		}
	}
	if p.cert != nil {
		args = append(args, "--simps-listen", p.simps().String(), "--tls-cert", p.cert.cert, "--tls-key", p.cert.key)
	}
	return args
}

// ready asks a node whether it takes clients.
func ready(ctx context.Context, addr string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("/readyz: " + answer.Status)
	}
	return nil
}
