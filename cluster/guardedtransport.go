package cluster

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// guardedTransport keeps Raft's calls from a node without data until it is
// clear that the site does not know its ID: a node that has lost its data has
// forgotten how it voted, and must not vote again. It also rejects calls of
// nodes whose data belongs to another cluster, and of a second process of a
// node.
type guardedTransport struct {
	raft.Transport
	clusterID   func() string // carried by all calls
	incarnation uint64        // of this process
	processes   processTracker
	calls       chan raft.RPC
	opened      chan struct{}
	closed      chan struct{}
	wg          sync.WaitGroup

	heartbeatMu sync.RWMutex // read-locked while Raft handles a heartbeat
	raftStopped bool         // Raft has ended

	mu        sync.Mutex
	heartbeat func(raft.RPC) // installed when the transport is opened
	isOpen    bool
	isClosed  bool
}

// processTracker tracks which processes run as the nodes; see link.Link.
type processTracker interface {
	AcceptsRaftFrom(node string, incarnation uint64) bool
	ChecksIncarnation(node string) bool
}

var errNotAdmitted = errors.New("this node is not sure yet that it may take part in the site")

func newGuardedTransport(t raft.Transport, clusterID func() string, incarnation uint64, p processTracker) *guardedTransport {
	g := &guardedTransport{Transport: t, clusterID: clusterID, incarnation: incarnation, processes: p, calls: make(chan raft.RPC), opened: make(chan struct{}), closed: make(chan struct{})}
	g.wg.Go(g.run)
	return g
}

// run passes calls on, or rejects them.
func (g *guardedTransport) run() {
	for {
		select {
		case c := <-g.Transport.Consumer():
			g.handleCall(c)
		case <-g.closed:
			return
		}
	}
}

func (g *guardedTransport) handleCall(c raft.RPC) {
	select {
	case <-g.opened:
	default:
		c.Respond(nil, errNotAdmitted)
		return
	}
	if err := g.checkHeader(c); err != nil {
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
func (g *guardedTransport) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen {
		return
	}
	g.isOpen = true
	close(g.opened)
	g.Transport.SetHeartbeatHandler(g.heartbeat)
}

// Consumer returns the calls for Raft.
func (g *guardedTransport) Consumer() <-chan raft.RPC { return g.calls }

// SetHeartbeatHandler sets Raft's fast path for heartbeats.
func (g *guardedTransport) SetHeartbeatHandler(f func(raft.RPC)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heartbeat = g.guardHeartbeat(f)
	if g.isOpen {
		g.Transport.SetHeartbeatHandler(g.heartbeat)
	}
}

// guardHeartbeat calls f until the transport is closed: a connection may
// still bring a heartbeat after Raft has stopped and its storage is closed.
func (g *guardedTransport) guardHeartbeat(f func(raft.RPC)) func(raft.RPC) {
	return func(c raft.RPC) {
		g.heartbeatMu.RLock()
		defer g.heartbeatMu.RUnlock()
		if g.raftStopped {
			c.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		if err := g.checkHeader(c); err != nil {
			c.Respond(nil, err)
			return
		}
		f(c)
	}
}

// Close closes the guard, and the transport if it can be closed. Raft calls
// it after it has shut down.
func (g *guardedTransport) Close() error {
	g.heartbeatMu.Lock()
	g.raftStopped = true
	g.heartbeatMu.Unlock()
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
