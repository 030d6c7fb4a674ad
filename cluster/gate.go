package cluster

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// gate keeps Raft's calls from a node that has no data until it is clear that
// the site knows no node of its id: one that lost its data has forgotten how
// it voted, and must not vote again. And it turns away the calls of nodes whose
// data is of another founding of the site, and of a second process of a node.
type gate struct {
	raft.Transport
	founding  func() string // its word, which all calls bear
	boot      uint64        // the number of this process
	processes processTracker
	calls     chan raft.RPC
	opened    chan struct{}
	closed    chan struct{}
	wg        sync.WaitGroup

	beating sync.RWMutex // read-held while Raft sees to a heartbeat
	over    bool         // Raft has ended

	mu        sync.Mutex
	heartbeat func(raft.RPC) // what is let through once the gate is open
	isOpen    bool
	isClosed  bool
}

// processTracker knows which processes run as the nodes; see link.Link.
type processTracker interface {
	AcceptsRaftFrom(node string, boot uint64) bool
	ChecksIncarnation(node string) bool
}

var errNotAdmitted = errors.New("this node is not sure yet that it may take part in the site")

func newGate(t raft.Transport, founding func() string, boot uint64, p processTracker) *gate {
	g := &gate{Transport: t, founding: founding, boot: boot, processes: p, calls: make(chan raft.RPC), opened: make(chan struct{}), closed: make(chan struct{})}
	g.wg.Go(g.run)
	return g
}

// run passes calls on, or turns them away.
func (g *gate) run() {
	for {
		select {
		case c := <-g.Transport.Consumer():
			g.pass(c)
		case <-g.closed:
			return
		}
	}
}

func (g *gate) pass(c raft.RPC) {
	select {
	case <-g.opened:
	default:
		c.Respond(nil, errNotAdmitted)
		return
	}
	if err := g.unmark(c); err != nil {
		c.Respond(nil, err)
		return
	}
	select {
	case g.calls <- c:
	case <-g.closed:
		c.Respond(nil, raft.ErrRaftShutdown)
	}
}

// open lets Raft's calls through from now on.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen {
		return
	}
	g.isOpen = true
	close(g.opened)
	g.Transport.SetHeartbeatHandler(g.heartbeat)
}

// Consumer is where Raft takes its calls from.
func (g *gate) Consumer() <-chan raft.RPC { return g.calls }

// SetHeartbeatHandler sets Raft's short cut for heartbeats.
func (g *gate) SetHeartbeatHandler(f func(raft.RPC)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heartbeat = g.guarded(f)
	if g.isOpen {
		g.Transport.SetHeartbeatHandler(g.heartbeat)
	}
}

// guarded is f until the gate is closed: a connection of the transport may
// still bring a heartbeat when Raft has ended and its disk is closed.
func (g *gate) guarded(f func(raft.RPC)) func(raft.RPC) {
	return func(c raft.RPC) {
		g.beating.RLock()
		defer g.beating.RUnlock()
		if g.over {
			c.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		if err := g.unmark(c); err != nil {
			c.Respond(nil, err)
			return
		}
		f(c)
	}
}

// Close ends the gate, and the transport if it has an end. Raft calls it when it has shut down.
func (g *gate) Close() error {
	g.beating.Lock()
	g.over = true
	g.beating.Unlock()
	g.mu.Lock()
	if !g.isClosed {
		g.isClosed = true
		close(g.closed)
	}
	g.mu.Unlock()
	g.wg.Wait()
	if c, ok := g.Transport.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
