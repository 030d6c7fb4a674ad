package cluster

import (
	"context"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// How long coming up may take, and how long a refused attempt is not repeated.
const (
	comeUpFor  = 5 * time.Second
	comeUpRest = 250 * time.Millisecond
)

// keepEpoch sees to it that this node has a living epoch while it is part of
// a site: it comes up, and comes up anew whenever it finds its epoch ended.
func (n *Node) keepEpoch(ctx context.Context) {
	for {
		nodes, servers := n.nodes.wait(), n.configured.wait()
		var again <-chan time.Time
		if !n.minded(ctx) {
			again = time.After(comeUpRest)
		}
		select {
		case <-nodes:
		case <-servers:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// minded reports whether nothing is left to do about the epoch for now.
func (n *Node) minded(ctx context.Context) bool {
	node, known := n.table.Node(n.cfg.NodeID)
	if known && !node.Down && node.Incarnation == n.boot {
		n.isUp(node.Epoch)
		return true
	}
	had := n.epoch.Swap(0) != 0
	if had {
		n.cfg.Logger.Warn("the site has ended this node's epoch")
	}
	if n.leaving.Load() || n.table.History() == "" || !n.isServer(n.cfg.NodeID) {
		return true
	}
	if had && known && node.Down {
		n.measures.TakenForDead.Add(1)
	}
	return n.comeUp(ctx, node.Epoch)
}

// isUp takes a new epoch into use.
func (n *Node) isUp(epoch uint64) {
	if n.epoch.Swap(epoch) == epoch {
		return
	}
	n.caughtUp.Store(true) // the table holds this node's own NodeUp, and so all before it
	n.cfg.Logger.Info("this node is up", "epoch", epoch)
	n.measures.Epochs.Add(1)
	n.cfg.Receiver.Up(epoch)
	if err := n.disk.marker.endLineage(n.table.History(), epoch, n.boot); err != nil {
		n.cfg.Logger.Warn("the marker can't be brought up to date", "error", err)
	}
}

// comeUp proposes a new epoch in place of the last one. What the table makes
// of it rings the bell.
func (n *Node) comeUp(ctx context.Context, last uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, comeUpFor)
	defer cancel()
	if err := n.disk.marker.beginLineage(n.boot); err != nil {
		n.cfg.Logger.Warn("this node can't come up", "error", err)
		return false
	}
	results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{
		Node: n.cfg.NodeID, Boot: n.boot, Version: n.cfg.Version,
		MinSchema: minSchema, MaxSchema: n.table.Newest(), Replaces: last,
	}}})
	if err != nil {
		return false
	}
	if r := results[0]; r.Refusal != store.None {
		n.cfg.Logger.Warn("the site does not let this node come up", "reason", r.Refusal, "detail", r.Detail)
		return false
	}
	return true
}

// goDown ends this node's epoch, at its own wish.
func (n *Node) goDown(ctx context.Context) {
	epoch := n.epoch.Swap(0)
	if epoch == 0 {
		return
	}
	_, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_NodeDown{
		NodeDown: &storev1.NodeDown{Node: n.cfg.NodeID, Epoch: epoch}}})
	if err != nil {
		n.cfg.Logger.Info("going without a word to the site", "error", err)
	}
}
