package link

import clusterv1 "simpd/proto/simp/cluster/v1"

// place is where a node's process is, as it said when it opened its stream to
// this node. Gossip can take a minute to learn a known node's new address;
// but who holds a stream open has proved to be the node, and is there.
type place struct {
	boot uint64 // of the process
	addr string // empty: it has not said
	open bool   // its stream has not ended since
}

// hear notes what gossip tells of the node; p.mu is held. Of another process
// than the one that holds a stream open, it is old.
func (p *peer) hear(m *Member) {
	p.gossiped = m
	if m.Boot != p.said.boot && !p.said.open {
		p.said = place{}
	}
}

// placed notes what a node says of itself on a new stream.
func (l *Link) placed(node string, h *clusterv1.Hello) {
	p := l.peers.find(node)
	if p == nil || h.ClusterAddr == "" || !l.members.isMember(node) {
		return
	}
	p.update(func() { p.said = place{boot: h.Boot, addr: h.ClusterAddr, open: true} })
	l.gossip.placed(node, h.GossipAddr)
}

// unplaced notes that a process's newest stream has ended.
func (l *Link) unplaced(node string, h *clusterv1.Hello) {
	p := l.peers.find(node)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.boot == h.Boot {
		p.said.open = false
	}
}

// Where returns the address of another node's cluster listener by the node's
// own word, or where it was reached last; empty if it was not. What gossip
// alone tells is not proved.
func (l *Link) Where(node string) string {
	p := l.peers.find(node)
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.addr != "" {
		return p.said.addr
	}
	return p.proved
}

// placed notes where a node gossips by its own word, to call it there once
// it is held for dead where it was.
func (g *gossip) placed(node, addr string) {
	g.mu.Lock()
	moved := addr != "" && g.seen[node] != addr
	if moved {
		g.seen[node] = addr
	}
	g.mu.Unlock()
	if moved {
		poke(g.again)
	}
}

// address is what this node tells others to reach it at by gossip; empty
// before it gossips.
func (g *gossip) address() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own
}
