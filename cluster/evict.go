package cluster

import (
	"context"
	"time"

	"simpd/cluster/link"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// reapAtOnce is how many users one entry makes deaf.
const reapAtOnce = 512

// evict ends the epochs of nodes that are gone, for as long as this node
// leads. That ends routing to them at once.
func (n *Node) evict(ctx context.Context, r *reign) {
	tick := time.NewTicker(n.pace.duties)
	defer tick.Stop()
	for {
		for _, node := range n.table.Nodes() {
			if !node.Down && node.ID != n.cfg.NodeID && n.gone(node.ID, r) {
				n.end(ctx, node)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// gone tells whether a node has not answered for as long as it may.
func (n *Node) gone(id string, r *reign) bool {
	c := n.link.Contact(id)
	switch {
	case c.Suspicion == link.Closed:
		return time.Since(c.Since) >= closedFor
	case c.Suspicion == link.Silent:
		return time.Since(c.Since) >= silentFor
	case c.Connected:
		return false
	}
	// It has not been heard of yet: as it may be after the whole site was down.
	return time.Since(later(c.Since, r.since)) >= absentFor
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *Node) end(ctx context.Context, node store.Node) {
	n.cfg.Logger.Warn("a node is gone: its epoch ends", "node", node.ID, "epoch", node.Epoch, "it", n.link.Contact(node.ID).Suspicion)
	_, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_NodeDown{
		NodeDown: &storev1.NodeDown{Node: node.ID, Epoch: node.Epoch}}})
	if err != nil && ctx.Err() == nil {
		n.cfg.Logger.Warn("ending a node's epoch", "node", node.ID, "error", err)
	}
}

// reap makes the users whom ended epochs have left behind deaf, a few at a
// time, so that nothing else waits for long.
func (n *Node) reap(ctx context.Context) {
	for {
		changed := n.nodes.wait()
		for _, node := range n.table.Nodes() {
			if node.Dirty {
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
			Reap: &storev1.Reap{Node: id, Limit: reapAtOnce}}})
		switch {
		case err != nil:
			pause(ctx, retryAfter)
		case results[0].Refusal != store.None || !results[0].Left:
			return
		}
	}
}
