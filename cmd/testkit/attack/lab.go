package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"simpd/cmd/testkit/isolate"
	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/wire"
	"simpd/cmd/testkit/world"
)

const (
	nodes         = 3
	siteDomain    = "example.com"
	hostileDomain = "hostile.example"
	removedID     = "n4"
	hostilePort   = "7468" // TLS at once
	dnsPort       = "53"
)

// lab is one run.
type lab struct {
	options
	dir       string
	network   *isolate.Network
	groups    isolate.Groups
	attacks   []attack
	site      *site.Site
	ground    *ground
	clock     wire.Clock
	trust     *tls.Config
	attackers *attackers
	closing   sync.Once
}

// start makes the network and the site, and starts it.
func (l *lab) start() (err error) {
	l.clock = wire.Clock{Begun: time.Now()}
	if err := l.network.Open(nodes + 1); err != nil {
		return err
	}
	if err := l.network.OpenOutside(honestNetwork, attackNetwork, swarmNetwork, attackSix); err != nil {
		return err
	}
	env, err := l.groups.Make()
	if err != nil {
		return err
	}
	l.site, err = site.New(site.Config{
		Bin: l.bin, Dir: l.dir, Nodes: nodes, Domain: siteDomain, Password: "correct horse battery staple",
		Host: l.network.Host, Within: l.within,
	})
	if err != nil {
		return err
	}
	l.site.Env = append(l.site.Env, env...)
	if l.ground, err = l.survey(); err != nil {
		return err
	}
	if l.trust, err = trustIn(l.site.CA, siteDomain); err != nil {
		return err
	}
	return l.begin()
}

// within is the command that runs node i in its network and, but for the one
// that is removed, within its memory.
func (l *lab) within(i int) []string {
	if i > nodes {
		return l.network.Within(i)
	}
	return append(l.groups.Within(i), l.network.Within(i)...)
}

// survey chooses where the nodes listen and makes the other site's files.
func (l *lab) survey() (*ground, error) {
	authority, err := world.NewAuthority("an authority of other sites")
	if err != nil {
		return nil, err
	}
	roots, err := authority.WriteRoot(l.dir)
	if err != nil {
		return nil, err
	}
	cert, key, err := authority.IssueFiles(l.dir, hostileDomain)
	if err != nil {
		return nil, err
	}
	hub := l.network.Hub()
	g := &ground{Domain: siteDomain, Password: l.site.Password, CA: l.site.CA, Keys: filepath.Join(l.dir, "keys")}
	g.Hostile = hostileFiles{hostileDomain, net.JoinHostPort(hub, hostilePort), cert, key, net.JoinHostPort(hub, dnsPort)}
	l.site.Flags = []string{
		"--ws-listen", "[::]:20007", "--federation-ca", roots, "--dns", g.Hostile.DNS, "--route", hostileDomain + "=" + g.Hostile.Address,
	}
	if l.pprof != "" {
		l.site.Flags = append(l.site.Flags, "--pprof-listen", l.pprof)
	}
	for _, n := range l.site.Nodes {
		g.Nodes = append(g.Nodes, l.place(n))
		n.SIMP, n.SIMPS = everywhere(n.SIMP), everywhere(n.SIMPS)
	}
	return g, nil
}

// place holds the addresses at which a node is reached from outside.
func (l *lab) place(n *site.Node) place {
	_, simps, _ := net.SplitHostPort(n.SIMPS)
	return place{
		ID: n.ID, SIMP: n.SIMP, SIMPS: n.SIMPS, GRPC: n.GRPC, Cluster: n.Cluster, Gossip: n.Gossip, HTTP: n.HTTP,
		WS: net.JoinHostPort(l.network.Host(n.Number), "20007"), Six: net.JoinHostPort(l.network.HostSix(n.Number), simps),
	}
}

// everywhere is the same port at every address, of IPv4 and IPv6.
func everywhere(hostport string) string {
	_, port, _ := net.SplitHostPort(hostport)
	return net.JoinHostPort("::", port)
}

// begin starts the nodes, takes one in and removes it again, and makes the
// accounts.
func (l *lab) begin() error {
	if err := l.site.BeginAll(); err != nil {
		return err
	}
	if err := l.site.AddUsers(l.site.Nodes[0], append(honestUsers(l.users), attackUsers()...)...); err != nil {
		return err
	}
	return l.removeOne()
}

// removeOne takes a fourth node in and removes it: its keys are what a removed
// node's owner has.
func (l *lab) removeOne() error {
	n := l.site.AddNode(nodes + 1)
	if err := l.site.MakeKeys(); err != nil {
		return err
	}
	n.SIMP, n.SIMPS = everywhere(n.SIMP), everywhere(n.SIMPS)
	if err := n.Begin(); err != nil {
		return err
	}
	if err := n.Ready(site.Patience); err != nil {
		return fmt.Errorf("%w\n%s", err, n.Said())
	}
	n.Kill()
	l.site.Nodes = l.site.Nodes[:nodes]
	for limit := l.clock.Now() + site.Patience; ; {
		code, said, err := l.site.Simpctl(l.site.Nodes[0], "node", "remove", removedID, "--yes")
		if err != nil || code == 0 {
			return err
		}
		if l.clock.Now() > limit {
			return fmt.Errorf("%s is not removed: %s", removedID, said)
		}
		<-time.After(500 * time.Millisecond) // it has to be found dead first
	}
}

// died names the nodes that have ended.
func (l *lab) died() (all []string) {
	for _, n := range l.site.Nodes {
		select {
		case <-n.Done():
			all = append(all, n.ID+" has ended: "+lastLine(n.Said()))
			continue
		default:
		}
		if err := l.groups.Survived(n.Number); err != nil {
			all = append(all, err.Error())
		}
	}
	return all
}

// lastLine is why a process ended: what it said last, or why it crashed.
func lastLine(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") {
			return l
		}
	}
	return lines[len(lines)-1]
}

// close ends all processes that the run has started.
func (l *lab) close() {
	l.closing.Do(func() {
		if l.attackers != nil {
			l.attackers.stop()
		}
		if l.site != nil {
			l.site.End()
		}
		l.groups.Remove()
		l.network.Close()
	})
}
