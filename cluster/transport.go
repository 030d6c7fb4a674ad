package cluster

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// transport is Raft's transport: the one of link, with three additions. It
// keeps Raft's calls from a node without data until it is clear that the site
// does not know its ID: a node that has lost its data has forgotten how it
// voted, and must not vote again. It marks the calls of this node, and rejects
// those of nodes whose data belongs to another cluster, and of a second process
// of a node. As the leader's it tells followers of commits at once, and tracks
// the snapshots that are sent.
type transport struct {
	raft.Transport
	headers   headerStamp
	commits   *commitBroadcaster
	snapshots snapshotTransfers
	calls     chan raft.RPC
	opened    chan struct{}
	closed    chan struct{}
	wg        sync.WaitGroup

	heartbeatMu sync.RWMutex // read-locked while Raft handles a heartbeat
	raftStopped bool         // Raft has ended

	mu        sync.Mutex
	heartbeat func(raft.RPC) // installed when the transport is opened
	isOpen    bool
	isClosed  bool
}

var errNotAdmitted = errors.New("this node is not sure yet that it may take part in the site")

func newTransport(to raft.Transport, h headerStamp, c *commitBroadcaster) *transport {
	t := &transport{Transport: to, headers: h, commits: c, calls: make(chan raft.RPC), opened: make(chan struct{}), closed: make(chan struct{})}
	c.send = t.appendEntries
	t.wg.Go(t.run)
	return t
}

// run passes calls on, or rejects them.
func (t *transport) run() {
	for {
		select {
		case c := <-t.Transport.Consumer():
			t.handleCall(c)
		case <-t.closed:
			return
		}
	}
}

func (t *transport) handleCall(c raft.RPC) {
	select {
	case <-t.opened:
	default:
		c.Respond(nil, errNotAdmitted)
		return
	}
	if err := t.headers.check(c); err != nil {
		c.Respond(nil, err)
		return
	}
	select {
	case t.calls <- c:
	case <-t.closed:
		c.Respond(nil, raft.ErrRaftShutdown)
	}
}

// open lets Raft's calls through from now on.
func (t *transport) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOpen {
		return
	}
	t.isOpen = true
	close(t.opened)
	t.Transport.SetHeartbeatHandler(t.heartbeat)
}

// Consumer returns the calls for Raft.
func (t *transport) Consumer() <-chan raft.RPC { return t.calls }

// SetHeartbeatHandler sets Raft's fast path for heartbeats.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = t.guardHeartbeat(f)
	if t.isOpen {
		t.Transport.SetHeartbeatHandler(t.heartbeat)
	}
}

// guardHeartbeat calls f until the transport is closed: a connection may
// still bring a heartbeat after Raft has stopped and its storage is closed.
func (t *transport) guardHeartbeat(f func(raft.RPC)) func(raft.RPC) {
	return func(c raft.RPC) {
		t.heartbeatMu.RLock()
		defer t.heartbeatMu.RUnlock()
		if t.raftStopped {
			c.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		if err := t.headers.check(c); err != nil {
			c.Respond(nil, err)
			return
		}
		f(c)
	}
}

// Close closes this transport, and the one of link if it can be closed. Raft calls
// it after it has shut down.
func (t *transport) Close() error {
	t.heartbeatMu.Lock()
	t.raftStopped = true
	t.heartbeatMu.Unlock()
	t.mu.Lock()
	if !t.isClosed {
		t.isClosed = true
		close(t.closed)
	}
	t.mu.Unlock()
	t.wg.Wait()
	if c, ok := t.Transport.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
