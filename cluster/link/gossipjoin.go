package link

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// runRejoin contacts missing nodes, soon at first and then less often.
// memberlist itself forgets dead nodes, so two halves of a site that were
// separated would not find each other again. When a node has moved, it starts
// again with short intervals.
func (g *gossip) runRejoin() {
	for d := firstRejoin; ; d = min(2*d, rejoinInterval) {
		if missing := g.missingAddrs(); len(missing) > 0 {
			if _, err := g.list.Join(missing); err != nil {
				g.link.logger.Debug("gossip: not all nodes were reached", "error", err)
			}
		}
		t := time.NewTimer(d/2 + rand.N(d))
		select {
		case <-t.C:
		case <-g.rejoinSoon:
			d = firstRejoin / 2
		case <-g.ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// missingAddrs returns the addresses of seeds and of nodes seen before at
// which no live node is known.
func (g *gossip) missingAddrs() []string {
	wanted := map[string]bool{}
	for _, seed := range g.link.config.Gossip.Join {
		for _, addr := range g.lookup(seed) {
			wanted[addr] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, addr := range g.seen {
		wanted[addr] = true
	}
	for id := range g.members {
		delete(wanted, g.seen[id])
	}
	delete(wanted, g.ownAddr)
	return slices.Sorted(maps.Keys(wanted))
}

func (g *gossip) lookup(seed string) (addrs []string) {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		g.link.logger.Error("gossip: an address to join is not host:port", "join", seed)
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{seed}
	}
	find := g.link.config.Gossip.lookup
	if find == nil {
		find = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ctx, cancel := context.WithTimeout(g.ctx, updateTimeout)
	defer cancel()
	found, err := find(ctx, host)
	if err != nil {
		g.link.logger.Warn("gossip: a name to join is not found", "join", seed, "error", err)
	}
	for _, a := range found {
		addrs = append(addrs, net.JoinHostPort(a.Unmap().String(), port))
	}
	return addrs
}
