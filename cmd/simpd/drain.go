package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/link"
	"simpd/cluster/router"
	storev1 "simpd/proto/simp/store/v1"
)

const (
	sayTime   = 2 * time.Second // bounds each word to the site while a node drains
	lookAgain = time.Second     // how often a draining node looks whether all is as it should be
	farewell  = 3 * time.Second // what a stop needs, at most, once the clients are gone
)

// leave moves a node's clients to other nodes: at an operator's request, or
// before it stops. There is one at a time.
type leave struct {
	away    atomic.Bool  // no client is taken, and none is to be sent here
	timeout atomic.Int64 // drain-timeout as it was last read

	mu     sync.Mutex         // held while one is begun, or ended
	cancel context.CancelFunc // of the one under way, or done; nil: none
	work   sync.WaitGroup     // of that
}

// end ends what goes on; l.mu is held.
func (l *leave) end() {
	if l.cancel != nil {
		l.cancel()
		l.work.Wait()
		l.cancel = nil
	}
}

// drainTimeout is the default time that clients have to leave.
func (n *node) drainTimeout() time.Duration { return time.Duration(n.leave.timeout.Load()) }

// drainAsked begins to drain as an operator wishes, and returns once the site
// knows; the clients are then moved in the background, for as long as within
// says (0: as the node is configured). With undo it ends that, and returns
// once the site knows that clients are taken again.
func (n *node) drainAsked(ctx context.Context, within time.Duration, undo bool) error {
	n.leave.mu.Lock()
	defer n.leave.mu.Unlock()
	if undo {
		return n.callOff(ctx)
	}
	if n.leave.cancel != nil {
		return nil
	}
	n.leave.away.Store(true) // before anybody is told to go
	if err := n.announceDraining(ctx, true); err != nil {
		n.leave.away.Store(false)
		return err
	}
	if within <= 0 {
		within = n.drainTimeout()
	}
	var background context.Context
	background, n.leave.cancel = context.WithCancel(n.ctx)
	n.leave.work.Go(func() {
		n.leave.work.Go(func() { n.stayAway(background) })
		limited, cancel := context.WithTimeout(background, within)
		defer cancel()
		n.moveClients(limited, within)
	})
	return nil
}

// callOff ends a drain; n.leave.mu is held.
func (n *node) callOff(ctx context.Context) error {
	n.router.Undrain()
	n.leave.end()
	if err := n.announceDraining(ctx, false); err != nil {
		return err
	}
	n.router.Undrain() // also a drain that had only just begun
	n.leave.away.Store(false)
	return nil
}

// moveAway is the drain before a stop: it returns when the clients are gone,
// or early enough before ctx ends for what has to follow.
func (n *node) moveAway(ctx context.Context) {
	n.leave.away.Store(true)
	n.leave.mu.Lock()
	defer n.leave.mu.Unlock()
	n.leave.end()
	within := n.drainTimeout()
	if end, ok := ctx.Deadline(); ok {
		within = time.Until(end)
	}
	within -= min(farewell, within/5)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := n.announceDraining(ctx, true); err != nil {
		n.logger.Warn("failed to tell the site that this node drains", "error", err)
	}
	n.moveClients(ctx, within)
}

// moveClients hands the leadership over and asks the clients to go. It returns
// when none is left, or ctx ends. Where there is no other node they are told so
// at once.
func (n *node) moveClients(ctx context.Context, within time.Duration) {
	// First of all: the clients want a site that answers.
	if err := n.handOver(ctx); err != nil {
		n.logger.Warn("failed to hand over leadership", "error", err)
	}
	t := &targets{node: n}
	others := t.pollNodes(ctx)
	n.logger.Info("draining", "connections", n.router.Connections(), "other_nodes", others)
	if others == 0 {
		over, cancel := context.WithDeadline(ctx, time.Now())
		defer cancel()
		_ = n.router.Drain(over, router.Drain{Target: t.next})
		return
	}
	looking, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { t.keepLooking(looking) })
	err := n.router.Drain(ctx, router.Drain{Target: t.next, Within: within})
	stop()
	work.Wait()
	if err != nil {
		n.logger.Warn("not all clients have moved in time", "timeout", within)
	}
}

// stayAway sees to it that the site takes this node for draining, and that it
// does not lead, until ctx ends: a new epoch or an election may have it so.
func (n *node) stayAway(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if known, ok := n.table.Node(n.conf.nodeID); ok && !known.Down && !known.Draining && n.cluster.Epoch() == known.Epoch {
			_ = n.announceDraining(ctx, true) // or at the next look
		}
		_ = n.handOver(ctx) // likewise
	}
}

// announceDraining tells the site that this node gives its clients away, so that
// other nodes may take one session more of each, or that it does not any more.
func (n *node) announceDraining(ctx context.Context, draining bool) error {
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	_, err := n.cluster.Propose(ctx, &storev1.Change{Kind: &storev1.Change_SetDraining{SetDraining: &storev1.SetDraining{
		Node: n.conf.nodeID, Epoch: n.cluster.Epoch(), Draining: draining,
	}}})
	if err != nil {
		return err
	}
	return n.cluster.UpdateMember(func(m *link.Member) { m.Draining = draining })
}

// handOver makes another node the leader, if this one leads and there is one.
func (n *node) handOver(ctx context.Context) error {
	if n.cluster.Leader() != n.conf.nodeID || n.cluster.Stats().Voters < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	_, err := n.cluster.TransferLeadership(ctx, "")
	return err
}
