package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// peerSet holds the other nodes that are known from gossip, from Raft's
// configuration, or from both.
type peerSet struct {
	link    *Link
	stop    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	byID   map[string]*peer
	closed bool
}

func newPeerSet(l *Link) *peerSet {
	ps := &peerSet{link: l, byID: map[string]*peer{}}
	ps.stop, ps.cancel = context.WithCancel(context.Background())
	return ps
}

// maxPeers limits how many nodes whoever has the gossip key can invent.
const maxPeers = 256

// get returns nil for an unknown node.
func (ps *peerSet) get(id string) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.byID[id]
}

// getOrCreate returns the peer with that ID, creating it if necessary; nil
// for this node itself, and after close.
func (ps *peerSet) getOrCreate(id string) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byID[id]; p != nil || ps.closed || id == ps.link.config.NodeID {
		return p
	}
	if len(ps.byID) >= maxPeers {
		return nil
	}
	p := newPeer(ps.link, id)
	ctx, cancel := context.WithCancel(ps.stop)
	p.cancel = cancel
	ps.byID[id] = p
	ps.running.Go(func() { p.runStreams(ctx) })
	return p
}

// onGossip records a node's gossip metadata; nil means that gossip no longer
// knows it.
func (ps *peerSet) onGossip(id string, m *Member) {
	if m != nil && m.ClusterAddr != "" && !ps.link.members.isExcluded(id) {
		if p := ps.getOrCreate(id); p != nil {
			p.updateAddr(func() { p.onGossipLocked(m) })
		}
		return
	}
	if p := ps.get(id); p != nil {
		p.updateAddr(func() { p.gossiped = nil })
		ps.prune(p)
	}
}

// setConfigured records the servers of Raft's configuration.
func (ps *peerSet) setConfigured(servers map[string]string) {
	for id, addr := range servers {
		if p := ps.getOrCreate(id); p != nil {
			p.updateAddr(func() { p.configuredAddr = addr })
		}
	}
	for _, p := range ps.all() {
		if _, ok := servers[p.id]; !ok {
			p.updateAddr(func() { p.configuredAddr = "" })
			ps.prune(p)
		}
	}
}

// prune removes a peer that neither gossip nor Raft's configuration knows.
func (ps *peerSet) prune(p *peer) {
	p.mu.Lock()
	unknown := p.gossiped == nil && p.configuredAddr == ""
	p.mu.Unlock()
	if unknown {
		ps.remove(p.id)
	}
}

func (ps *peerSet) remove(id string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byID[id]; p != nil {
		p.cancel()
		delete(ps.byID, id)
	}
}

func (ps *peerSet) all() []*peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	all := make([]*peer, 0, len(ps.byID))
	for _, p := range ps.byID {
		all = append(all, p)
	}
	return all
}

// isConnected reports whether a stream to any node is open.
func (ps *peerSet) isConnected() bool {
	return ps.any(func(p *peer) bool { return p.connectivity.Connected })
}

// anyChecksIncarnation reports whether a stream is open to a node whose
// version admits only one process per node.
func (ps *peerSet) anyChecksIncarnation() bool {
	return ps.any(func(p *peer) bool { return p.connectivity.Connected && p.checksIncarnation })
}

func (ps *peerSet) any(is func(*peer) bool) bool {
	return slices.ContainsFunc(ps.all(), func(p *peer) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return is(p)
	})
}

func (ps *peerSet) close() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	ps.cancel()
	ps.running.Wait()
}

// getReachable returns the peer of a node that is known and not silent. A
// node that refuses connections fails a call quickly enough.
func (ps *peerSet) getReachable(id string) (*peer, error) {
	p := ps.get(id)
	if p == nil {
		return nil, errNotKnown
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if how := p.connectivity.Suspicion; how == Silent {
		return nil, fmt.Errorf("it %s", how)
	}
	return p, nil
}

var (
	errNotKnown  = errors.New("it is not known here")
	errNoAddress = errors.New("its address is not known")
)
