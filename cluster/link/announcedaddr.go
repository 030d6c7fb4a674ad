package link

import clusterv1 "simpd/proto/simp/cluster/v1"

// announcedAddr is the address of a node's process, as it announced when it
// opened its stream to this node. Gossip can take a minute to learn a known
// node's new address, but a node that keeps a stream open has proved its
// identity.
type announcedAddr struct {
	incarnation uint64 // of the process
	addr        string // empty if it has not announced one
	isOpen      bool   // its stream has not ended
}

// onGossipLocked records a node's gossip metadata. If it concerns another
// process than the one that keeps a stream open, it is outdated.
func (p *peer) onGossipLocked(m *Member) {
	p.gossiped = m
	if m.Incarnation != p.announced.incarnation && !p.announced.isOpen {
		p.announced = announcedAddr{}
	}
}

// onAddrAnnounced records what a node announces on a new stream.
func (l *Link) onAddrAnnounced(node string, h *clusterv1.Hello) {
	p := l.peers.get(node)
	if p == nil || h.ClusterAddr == "" || !l.members.isMember(node) {
		return
	}
	p.updateAddr(func() { p.announced = announcedAddr{incarnation: h.Incarnation, addr: h.ClusterAddr, isOpen: true} })
	l.gossip.setAddr(node, h.GossipAddr)
}

// onAddrWithdrawn records that a process's newest stream has ended.
func (l *Link) onAddrWithdrawn(node string, h *clusterv1.Hello) {
	p := l.peers.get(node)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.announced.incarnation == h.Incarnation {
		p.announced.isOpen = false
	}
}

// AddrOf returns the address of another node's cluster listener as the node
// itself announced it, or where it was reached last; empty if neither is
// known. What only gossip tells is not proved.
func (l *Link) AddrOf(node string) string {
	p := l.peers.get(node)
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.announced.addr != "" {
		return p.announced.addr
	}
	return p.provedAddr
}

// setAddr records a node's gossip address as it announced it, to contact it
// there if gossip believes it to be dead.
func (g *gossip) setAddr(node, addr string) {
	g.mu.Lock()
	moved := addr != "" && g.seen[node] != addr
	if moved {
		g.seen[node] = addr
	}
	g.mu.Unlock()
	if moved {
		g.rejoinSoon.Notify()
	}
}

// advertisedAddr returns the gossip address that this node tells others;
// empty before it gossips.
func (g *gossip) advertisedAddr() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ownAddr
}
