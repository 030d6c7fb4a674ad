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

// portsEach is how many ports a node has, each with the next one free: SIMP,
// gRPC, cluster, gossip and HTTP.
const portsEach = 5

// plan is one node before it starts.
type plan struct {
	id   string
	dir  string
	port []int // portsEach
}

func (p *plan) simp() netip.AddrPort { return loopback(p.port[0]) }
func (p *plan) grpc() string         { return loopback(p.port[1]).String() }
func (p *plan) gossip() string       { return loopback(p.port[3]).String() }
func (p *plan) http() string         { return loopback(p.port[4]).String() }

// startSite starts a site of n nodes with so many accounts.
func (b *bench) startSite(ctx context.Context, n, users int) (*subject, error) {
	s, err := b.emptySite(n)
	if err != nil {
		return nil, err
	}
	if err := b.runSite(ctx, s, n, users); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (b *bench) emptySite(n int) (*subject, error) {
	password, err := load.NewPassword()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "simpbench-site-")
	if err != nil {
		return nil, fmt.Errorf("start a site: %w", err)
	}
	name := simpdName
	if n > 1 {
		name = siteName(n)
	}
	return &subject{name: name, dir: dir, dialect: &load.SIMP{Domain: domain, Password: password}}, nil
}

func siteName(n int) string { return simpdName + "×" + strconv.Itoa(n) }

func (b *bench) runSite(ctx context.Context, s *subject, n, users int) error {
	plans, err := planSite(s.dir, n)
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

func planSite(dir string, n int) ([]*plan, error) {
	ports, err := host.Ports(n * portsEach)
	if err != nil {
		return nil, err
	}
	var plans []*plan
	for i := range n {
		id := "n" + strconv.Itoa(i+1)
		plans = append(plans, &plan{id: id, dir: filepath.Join(dir, id), port: ports[i*portsEach : (i+1)*portsEach]})
	}
	return plans, nil
}

// arguments are what node p of the site is started with.
func (b *bench) arguments(p *plan, all []*plan) []string {
	args := []string{"serve", "--insecure", "--node-id", p.id, "--data-dir", p.dir, "--domain", domain,
		"--simp-listen", p.simp().String(), "--grpc-listen", p.grpc(),
		"--cluster-listen", loopback(p.port[2]).String(), "--gossip-listen", p.gossip(),
		"--http-listen", p.http(), "--bootstrap-expect", strconv.Itoa(len(all)), "--drain-timeout", "1s"}
	for _, other := range all {
		if other != p {
			args = append(args, "--join", other.gossip())
		}
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
