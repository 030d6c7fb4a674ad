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

// reign is one term in which this node leads.
type reign struct {
	term uint64
	// ready is closed once this node's table holds all that was ever
	// acknowledged before the term.
	ready  chan struct{}
	pauses *pauses
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// rule begins and ends reigns as Raft says, until ctx ends.
func (n *Node) rule(ctx context.Context) {
	var r *reign
	for {
		r = n.change(ctx, r)
		n.leaders.ring()
		select {
		case <-n.led:
		case <-ctx.Done():
			n.endReign(r)
			return
		}
	}
}

// reigns returns nil if this node leads. Whom Raft has just made leader is asked
// by others at once, and begins its reign a moment later: that is waited for.
func (n *Node) reigns(ctx context.Context) error {
	for {
		changed := n.leaders.wait()
		switch {
		case n.reign.Load() != nil:
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

// forward takes what Raft says off its channel at once: were that full, Raft
// would stand still.
func forward(told <-chan bool, changed poke) {
	for range told {
		changed.now()
	}
}

// change ends the reign that is over, and begins the one that has begun.
func (n *Node) change(ctx context.Context, r *reign) *reign {
	term, leads := n.raft.CurrentTerm(), n.raft.State() == raft.Leader
	if r != nil && (!leads || r.term != term) {
		n.endReign(r)
		r = nil
	}
	if r == nil && leads {
		r = n.beginReign(ctx, term)
	}
	return r
}

func (n *Node) beginReign(ctx context.Context, term uint64) *reign {
	ctx, cancel := context.WithCancel(ctx)
	r := &reign{term: term, ready: make(chan struct{}), pauses: newPauses(n.pace.heartbeat / 2), cancel: cancel}
	n.cfg.Logger.Info("this node leads", "term", term)
	n.intake.begin(term)
	n.reign.Store(r)
	n.proposer.wake.now()
	r.wg.Go(func() { r.pauses.run(ctx) })
	r.wg.Go(func() { n.govern(ctx, r) })
	return r
}

func (n *Node) endReign(r *reign) {
	if r == nil {
		return
	}
	n.cfg.Logger.Info("this node leads no more", "term", r.term)
	n.reign.Store(nil)
	r.cancel()
	n.intake.end()
	r.wg.Wait()
}

// govern does a leader's duties until its reign ends.
func (n *Node) govern(ctx context.Context, r *reign) {
	if !n.fence(ctx, r.term) {
		return
	}
	close(r.ready)
	n.nameSite(ctx)
	r.wg.Go(func() { n.evict(ctx) })
	r.wg.Go(func() { n.reap(ctx) })
	r.wg.Go(func() { n.tend(ctx) })
	r.wg.Go(func() { n.raise(ctx) })
	r.wg.Go(func() { n.steer(ctx) })
	r.wg.Go(func() { n.askForDigests(ctx) })
}

// fence puts an empty entry into the log. Once it is applied here, so is all
// that was committed before; once it is applied anywhere, nothing meant for
// an earlier term comes any more.
func (n *Node) fence(ctx context.Context, term uint64) bool {
	empty := store.EncodeEntry(&storev1.Entry{MinSchema: minSchema})
	for ctx.Err() == nil {
		f := n.raft.Apply(empty, enqueueTimeout)
		if outcome(f) == nil {
			n.announcer.commit(term, f.Index())
			return true
		}
		pause(ctx, retryAfter)
	}
	return false
}

// nameSite gives a new site its history and its secret, and has its log begin
// with the newest schema that the nodes which form it can read: there is no
// older version that one of them might go back to.
func (n *Node) nameSite(ctx context.Context) {
	for ctx.Err() == nil && n.table.History() == "" {
		changes := []*storev1.Change{{Kind: &storev1.Change_NewHistory{NewHistory: newHistory()}}}
		if schema := n.schemaOfMembers(); schema > n.table.Schema() {
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: schema}}})
		}
		_, err := n.propose(ctx, changes...)
		if err != nil {
			n.cfg.Logger.Warn("naming the new site", "error", err)
			pause(ctx, retryAfter)
		}
	}
}

func newHistory() *storev1.NewHistory {
	name, secret := make([]byte, 6), make([]byte, 32)
	rand.Read(name)
	rand.Read(secret)
	return &storev1.NewHistory{History: hex.EncodeToString(name), Secret: secret}
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
