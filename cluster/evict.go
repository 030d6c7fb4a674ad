package cluster

import (
	"context"
	"time"

	"simpd/cluster/link"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// reapBatch is the number of users in one Reap.
const reapBatch = 128

// evictDead ends the epochs of dead nodes while this node leads, which ends
// routing to them at once.
func (n *Node) evictDead(ctx context.Context) {
	met := make(map[store.Session]time.Time) // epochs, and since when this leader knows them
	tick := time.NewTicker(n.timeouts.dutyInterval)
	defer tick.Stop()
	for {
		for _, node := range n.table.Nodes() {
			epoch := store.Session{Node: node.ID, Epoch: node.Epoch}
			if met[epoch].IsZero() {
				met[epoch] = time.Now()
			}
			if !node.Down && node.ID != n.cfg.NodeID && n.isDead(node.ID, met[epoch]) {
				n.markDown(ctx, node)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// isDead reports whether a node has not responded for as long as allowed,
// although this leader has known its epoch since met. (What the link knew
// before may concern an earlier epoch.)
func (n *Node) isDead(id string, met time.Time) bool {
	c := n.link.Connectivity(id)
	waited := time.Since(later(c.Since, met))
	switch {
	case c.Suspicion == link.Closed:
		return waited >= closedFor
	case c.Suspicion == link.Silent:
		return time.Since(c.Since) >= silentFor && waited >= closedFor
	}
	return !c.Connected && waited >= absentFor
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *Node) markDown(ctx context.Context, node store.Node) {
	n.cfg.Logger.Warn("a node is gone: its epoch ends", "node", node.ID, "epoch", node.Epoch, "suspicion", n.link.Connectivity(node.ID).Suspicion)
	_, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_NodeDown{
		NodeDown: &storev1.NodeDown{Node: node.ID, Epoch: node.Epoch}}})
	if err != nil && ctx.Err() == nil {
		n.cfg.Logger.Warn("ending a node's epoch", "node", node.ID, "error", err)
	}
}

// reap removes the bindings of ended epochs, a few users at a time, so that
// nothing else waits for long.
func (n *Node) reap(ctx context.Context) {
	for {
		changed := n.nodesChanged.Changed()
		for _, node := range n.table.Nodes() {
			if node.NeedsReap {
				n.reapNode(ctx, node.ID)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) reapNode(ctx context.Context, id string) {
	for ctx.Err() == nil {
		results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_Reap{
			Reap: &storev1.Reap{Node: id, Limit: reapBatch}}})
		switch {
		case err != nil:
			wait.Sleep(ctx, retryDelay)
		case results[0].Refusal != store.None || !results[0].More:
			return
		}
	}
}
