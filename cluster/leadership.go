package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// leadership is one term in which this node leads.
type leadership struct {
	term uint64
	// ready is closed when this node's table contains everything that was ever
	// acknowledged before the term.
	ready  chan struct{}
	pauses *pauseDetector
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// monitorLeadership establishes and revokes leadership as Raft reports, until
// ctx ends.
func (n *Node) monitorLeadership(ctx context.Context) {
	var r *leadership
	for {
		r = n.onLeadershipChange(ctx, r)
		n.leaderChanged.notify()
		select {
		case <-n.leadershipChanged:
		case <-ctx.Done():
			n.revokeLeadership(r)
			return
		}
	}
}

// awaitLeadership returns nil if this node leads. A node that Raft has just
// made leader receives calls at once and establishes its leadership a moment
// later, so it waits for that.
func (n *Node) awaitLeadership(ctx context.Context) error {
	for {
		changed := n.leaderChanged.changed()
		switch {
		case n.leadership.Load() != nil:
			return nil
		case n.Leader() != n.cfg.NodeID:
			return n.notLeader()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n.notLeader()
		}
	}
}

// forwardNotifications drains Raft's channel at once, because Raft would
// block if it were full.
func forwardNotifications(told <-chan bool, changed signal) {
	for range told {
		changed.notify()
	}
}

// onLeadershipChange revokes a leadership that has ended, and establishes one
// that has begun.
func (n *Node) onLeadershipChange(ctx context.Context, r *leadership) *leadership {
	term, leads := n.raft.CurrentTerm(), n.raft.State() == raft.Leader
	if r != nil && (!leads || r.term != term) {
		n.revokeLeadership(r)
		r = nil
	}
	if r == nil && leads {
		r = n.establishLeadership(ctx, term)
	}
	return r
}

func (n *Node) establishLeadership(ctx context.Context, term uint64) *leadership {
	ctx, cancel := context.WithCancel(ctx)
	r := &leadership{term: term, ready: make(chan struct{}), pauses: newPauseDetector(n.timeouts.heartbeat / 2), cancel: cancel}
	n.cfg.Logger.Info("this node leads", "term", term)
	n.batcher.start(term)
	n.leadership.Store(r)
	n.proposer.wake.notify()
	r.wg.Go(func() { r.pauses.run(ctx) })
	r.wg.Go(func() { n.leaderLoop(ctx, r) })
	return r
}

func (n *Node) revokeLeadership(r *leadership) {
	if r == nil {
		return
	}
	n.cfg.Logger.Info("this node leads no more", "term", r.term)
	n.leadership.Store(nil)
	r.cancel()
	n.batcher.stop()
	r.wg.Wait()
}

// leaderLoop performs a leader's duties until its leadership ends.
func (n *Node) leaderLoop(ctx context.Context, r *leadership) {
	if !n.commitBarrier(ctx, r.term) {
		return
	}
	close(r.ready)
	n.initializeHistory(ctx)
	r.wg.Go(func() { n.evictDead(ctx) })
	r.wg.Go(func() { n.reap(ctx) })
	r.wg.Go(func() { n.reconcileMembers(ctx) })
	r.wg.Go(func() { n.upgradeSchema(ctx) })
	r.wg.Go(func() { n.runAutopilot(ctx) })
	r.wg.Go(func() { n.scheduleChecks(ctx) })
}

// commitBarrier commits an empty entry. When it is applied here, so is
// everything committed before; when it is applied anywhere, nothing meant for
// an earlier term follows.
func (n *Node) commitBarrier(ctx context.Context, term uint64) bool {
	empty := store.EncodeEntry(&storev1.Entry{MinSchema: minSchema})
	for ctx.Err() == nil {
		f := n.raft.Apply(empty, enqueueTimeout)
		if proposalError(f) == nil {
			n.broadcaster.onCommit(term, f.Index())
			return true
		}
		sleepContext(ctx, retryDelay)
	}
	return false
}

// initializeHistory gives a new site its history and secret, and starts its
// log with the newest schema that all initial nodes can read, since there is
// no older version to go back to.
func (n *Node) initializeHistory(ctx context.Context) {
	for ctx.Err() == nil && n.table.History() == "" {
		changes := []*storev1.Change{{Kind: &storev1.Change_NewHistory{NewHistory: newHistory()}}}
		if schema := n.schemaOfMembers(); schema > n.table.Schema() {
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: schema}}})
		}
		_, err := n.propose(ctx, changes...)
		if err != nil {
			n.cfg.Logger.Warn("naming the new site", "error", err)
			sleepContext(ctx, retryDelay)
		}
	}
}

func newHistory() *storev1.NewHistory {
	name, secret := make([]byte, 6), make([]byte, 32)
	rand.Read(name)
	rand.Read(secret)
	return &storev1.NewHistory{History: hex.EncodeToString(name), Secret: secret}
}

// sleepContext sleeps for d, or until ctx ends.
func sleepContext(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
