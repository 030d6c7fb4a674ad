package cluster

import (
	"context"
	"time"

	"simpd/cluster/link"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// reapAtOnce is how many users one entry makes deaf.
const reapAtOnce = 128

// evict ends the epochs of nodes that are gone, for as long as this node
// leads. That ends routing to them at once.
func (n *Node) evict(ctx context.Context) {
	met := make(map[store.Session]time.Time) // epochs, and since when this leader knows them
	tick := time.NewTicker(n.pace.duties)
	defer tick.Stop()
	for {
		for _, node := range n.table.Nodes() {
			epoch := store.Session{Node: node.ID, Epoch: node.Epoch}
			if met[epoch].IsZero() {
				met[epoch] = time.Now()
			}
			if !node.Down && node.ID != n.cfg.NodeID && n.gone(node.ID, met[epoch]) {
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

// gone reports whether a node has not answered for as long as it may, though
// this leader has known its epoch since met. (What the link knew before may
// be of an epoch that has ended.)
func (n *Node) gone(id string, met time.Time) bool {
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

func (n *Node) end(ctx context.Context, node store.Node) {
	n.cfg.Logger.Warn("a node is gone: its epoch ends", "node", node.ID, "epoch", node.Epoch, "it", n.link.Connectivity(node.ID).Suspicion)
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
			Reap: &storev1.Reap{Node: id, Limit: reapAtOnce}}})
		switch {
		case err != nil:
			pause(ctx, retryAfter)
		case results[0].Refusal != store.None || !results[0].More:
			return
		}
	}
}
