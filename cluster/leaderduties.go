package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"simpd/cluster/proposals"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// Leader returns the node that leads, as far as this one knows; "" if there
// is none.
func (n *Node) Leader() string { return n.leadership.leader() }

// establishLeadership begins a term in which this node leads.
func (n *Node) establishLeadership(ctx context.Context, term uint64) *leaderTerm {
	ctx, cancel := context.WithCancel(ctx)
	t := &leaderTerm{term: term, ready: make(chan struct{}), pauses: newPauseDetector(n.timeouts.heartbeat / 2), cancel: cancel}
	n.cfg.Logger.Info("this node leads", "term", term)
	n.batcher.Start(term)
	n.leadership.current.Store(t)
	n.proposer.Wake()
	t.wg.Go(func() { t.pauses.run(ctx) })
	t.wg.Go(func() { n.leaderLoop(ctx, t) })
	return t
}

// revokeLeadership ends a term in which this node led.
func (n *Node) revokeLeadership(t *leaderTerm) {
	n.cfg.Logger.Info("this node leads no more", "term", t.term)
	n.leadership.current.Store(nil)
	t.cancel()
	n.batcher.Stop()
	t.wg.Wait()
}

// leaderLoop performs a leader's duties until its leadership ends.
func (n *Node) leaderLoop(ctx context.Context, t *leaderTerm) {
	if !n.commitBarrier(ctx, t.term) {
		return
	}
	close(t.ready)
	n.initializeHistory(ctx)
	for _, duty := range []func(context.Context){n.evictDead, n.reap, n.reconcileMembers, n.upgradeSchema, n.runAutopilot, n.scheduleChecks} {
		t.wg.Go(func() { duty(ctx) })
	}
}

// enqueueTimeout limits the time that Raft takes to queue the barrier.
const enqueueTimeout = time.Second

// commitBarrier commits an empty entry. When it is applied here, so is
// everything committed before; when it is applied anywhere, nothing meant for
// an earlier term follows.
func (n *Node) commitBarrier(ctx context.Context, term uint64) bool {
	empty := store.EncodeEntry(&storev1.Entry{MinSchema: minSchema})
	for ctx.Err() == nil {
		f := n.raft.Apply(empty, enqueueTimeout)
		if proposals.CommitError(f) == nil {
			n.broadcaster.onCommit(term, f.Index())
			return true
		}
		wait.Sleep(ctx, retryDelay)
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
			wait.Sleep(ctx, retryDelay)
		}
	}
}

func newHistory() *storev1.NewHistory {
	name, secret := make([]byte, 6), make([]byte, 32)
	rand.Read(name)
	rand.Read(secret)
	return &storev1.NewHistory{History: hex.EncodeToString(name), Secret: secret}
}
