package router

import (
	"context"
	"sync"
	"time"

	"simpd/protocol/wait"
)

// How long a node may be without the majority before it says so (section 4).
const (
	staleAfter          = 3 * time.Second
	disconnectAfter     = 10 * time.Second
	quorumCheckInterval = 100 * time.Millisecond
)

// quorumState tracks whether this node still hears from a majority, and what
// its clients were told about it.
type quorumState struct {
	mu           sync.Mutex
	stale        bool           // watchers have been sent STALE
	changed      wait.Broadcast // stale has ended
	disconnected bool           // clients are refused and disconnected
}

func (c *quorumState) isStale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

// checkStaleness goes stale at once if the quorum is lost, without waiting
// for the ticker, so that every watcher who is shown "unknown" later receives
// FRESH.
func (r *Router) checkStaleness() {
	if r.directory.QuorumLostFor() >= staleAfter {
		r.goStale()
	}
}

// isPresenceStale reports whether presence may be out of date. It asks the
// Directory too, because the ticker may not have run since the quorum was
// lost.
func (r *Router) isPresenceStale() bool {
	return r.quorum.isStale() || r.directory.QuorumLostFor() >= staleAfter
}

func (c *quorumState) isDisconnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disconnected
}

// awaitFresh returns when changes may be sent to watchers, or with ctx's
// error.
func (c *quorumState) awaitFresh(ctx context.Context) error {
	return c.changed.Await(ctx, func() bool { return !c.isStale() })
}

// monitorQuorum checks the contact with the majority at each tick until
// shutdown.
func (r *Router) monitorQuorum() {
	tick := time.NewTicker(quorumCheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.updateQuorum(r.directory.QuorumLostFor())
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Router) updateQuorum(lost time.Duration) {
	c := &r.quorum
	switch {
	case lost >= disconnectAfter:
		r.setDisconnected(true)
	case lost == 0:
		r.setDisconnected(false)
	}
	switch stale := c.isStale(); {
	case lost >= staleAfter && !stale:
		r.goStale()
	case lost == 0 && stale:
		r.goFresh()
	}
}

// setDisconnected records whether the node has been without a quorum for
// disconnectAfter, and disconnects all clients when that begins.
func (r *Router) setDisconnected(cut bool) {
	r.quorum.mu.Lock()
	was := r.quorum.disconnected
	r.quorum.disconnected = cut
	r.quorum.mu.Unlock()
	if cut && !was {
		r.disconnectAll(noQuorumText)
	}
}

// goStale sends STALE to all who watch, once. No change is sent after it
// until goFresh. Any goroutine may call it.
func (r *Router) goStale() {
	r.hub.mu.Lock()
	r.quorum.mu.Lock()
	was := r.quorum.stale
	if !was {
		r.quorum.stale = true
	}
	r.quorum.mu.Unlock()
	r.hub.mu.Unlock()
	if was {
		return
	}
	for _, u := range r.hub.watchingUsers() {
		u.session.Stale()
	}
}

// goFresh sends FRESH with the table's index after a read barrier, and then
// the changes that were held back.
func (r *Router) goFresh() {
	ctx, cancel := context.WithTimeout(r.ctx, staleAfter)
	defer cancel()
	if r.directory.ReadBarrier(ctx) != nil {
		return // the next tick tries again
	}
	index := r.config.Table.Index()
	for _, u := range r.hub.watchingUsers() {
		u.session.Fresh(index)
	}
	r.hub.mu.Lock()
	r.quorum.mu.Lock()
	r.quorum.stale = false
	r.quorum.mu.Unlock()
	r.quorum.changed.Notify()
	r.hub.mu.Unlock()
	r.hub.refreshUnknown()
}
