package cluster

import (
	"context"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// How long coming up may take, and how long a refused attempt is not repeated.
const (
	registerTimeout = 5 * time.Second
	registerRetry   = 250 * time.Millisecond
)

// maintainEpoch makes sure that this node has a current epoch while it is
// part of a site: it registers, and registers again whenever its epoch was
// ended.
func (n *Node) maintainEpoch(ctx context.Context) {
	for {
		nodes, servers := n.nodesChanged.Changed(), n.configChanged.Changed()
		var again <-chan time.Time
		if !n.ensureRegistered(ctx) {
			again = time.After(registerRetry)
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

// ensureRegistered reports whether nothing remains to be done about the epoch
// for now.
func (n *Node) ensureRegistered(ctx context.Context) bool {
	node, known := n.table.Node(n.cfg.NodeID)
	if known && !node.Down && node.Incarnation == n.incarnation {
		n.onRegistered(node.Epoch)
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
		n.metrics.TakenForDead.Add(1)
	}
	return n.register(ctx, node.Epoch)
}

// onRegistered takes a new epoch into use.
func (n *Node) onRegistered(epoch uint64) {
	if n.epoch.Swap(epoch) == epoch {
		return
	}
	n.caughtUp.Store(true) // the table holds this node's own NodeUp, and so all before it
	n.cfg.Logger.Info("this node is up", "epoch", epoch)
	n.metrics.Epochs.Add(1)
	n.cfg.Receiver.Up(epoch)
	if err := n.storage.Manifest.EndLineage(n.table.History(), epoch, n.incarnation); err != nil {
		n.cfg.Logger.Warn("the marker can't be brought up to date", "error", err)
	}
}

// register proposes a new epoch in place of the last one. The caller notices
// the result in the table.
func (n *Node) register(ctx context.Context, last uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	if err := n.storage.Manifest.BeginLineage(n.incarnation); err != nil {
		n.cfg.Logger.Warn("this node can't come up", "error", err)
		return false
	}
	results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{
		Node: n.cfg.NodeID, Incarnation: n.incarnation, Version: n.cfg.Version,
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

// deregister ends this node's epoch at its own request.
func (n *Node) deregister(ctx context.Context) {
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
