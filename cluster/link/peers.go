package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// peers are the other nodes that are known: by gossip, by Raft's
// configuration, or by both.
type peers struct {
	link    *Link
	stop    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	byID   map[string]*peer
	closed bool
}

func newPeers(l *Link) *peers {
	ps := &peers{link: l, byID: map[string]*peer{}}
	ps.stop, ps.cancel = context.WithCancel(context.Background())
	return ps
}

// maxPeers bounds what whoever has the gossip key can make a node hold, by
// inventing nodes.
const maxPeers = 256

// find returns nil for a node that is not known.
func (ps *peers) find(id string) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.byID[id]
}

// make returns the peer of that id, a new one if there is none; nil for this
// node itself, and once closed.
func (ps *peers) make(id string) *peer {
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
	ps.running.Go(func() { p.run(ctx) })
	return p
}

// gossiped notes what a node tells of itself; nil: it is not heard of any more.
func (ps *peers) gossiped(id string, m *Member) {
	if m != nil && m.ClusterAddr != "" && !ps.link.members.isExcluded(id) {
		if p := ps.make(id); p != nil {
			p.update(func() { p.hear(m) })
		}
		return
	}
	if p := ps.find(id); p != nil {
		p.update(func() { p.gossiped = nil })
		ps.prune(p)
	}
}

// configured notes the servers of Raft's configuration.
func (ps *peers) configured(servers map[string]string) {
	for id, addr := range servers {
		if p := ps.make(id); p != nil {
			p.update(func() { p.known = addr })
		}
	}
	for _, p := range ps.all() {
		if _, ok := servers[p.id]; !ok {
			p.update(func() { p.known = "" })
			ps.prune(p)
		}
	}
}

// prune gives a peer up that neither gossip nor Raft's configuration knows.
func (ps *peers) prune(p *peer) {
	p.mu.Lock()
	unknown := p.gossiped == nil && p.known == ""
	p.mu.Unlock()
	if unknown {
		ps.forget(p.id)
	}
}

func (ps *peers) forget(id string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byID[id]; p != nil {
		p.cancel()
		delete(ps.byID, id)
	}
}

func (ps *peers) all() []*peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	all := make([]*peer, 0, len(ps.byID))
	for _, p := range ps.byID {
		all = append(all, p)
	}
	return all
}

// isConnected reports whether a stream to any node is open.
func (ps *peers) isConnected() bool {
	return ps.any(func(p *peer) bool { return p.contact.Connected })
}

// anyTakesBoot reports whether a stream is open to a node whose version lets
// only one process of a node in.
func (ps *peers) anyTakesBoot() bool {
	return ps.any(func(p *peer) bool { return p.contact.Connected && p.checks })
}

func (ps *peers) any(is func(*peer) bool) bool {
	return slices.ContainsFunc(ps.all(), func(p *peer) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return is(p)
	})
}

func (ps *peers) close() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	ps.cancel()
	ps.running.Wait()
}

// reachable returns the peer of a node that is known and not silent. One that
// refuses connections answers a call soon enough.
func (ps *peers) reachable(id string) (*peer, error) {
	p := ps.find(id)
	if p == nil {
		return nil, fmt.Errorf("node %s: %w: it is not known here", id, ErrUnavailable)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if how := p.contact.Suspicion; how == Silent {
		return nil, fmt.Errorf("node %s: %w: it %s", id, ErrUnavailable, how)
	}
	return p, nil
}

var errNoAddress = errors.New("its address is not known")
