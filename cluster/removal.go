package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// RemoveNode removes a node from the site permanently. It may be called on
// any node. The removed node's data is useless: to come back it has to be
// wiped.
func (n *Node) RemoveNode(ctx context.Context, id string) error {
	leader := n.Leader()
	if leader == id && len(n.servers()) > 1 {
		var err error
		if leader, err = n.replaceLeader(ctx, id); err != nil {
			return err
		}
	}
	switch leader {
	case "":
		return unavailable("%w", errNoLeader)
	case n.cfg.NodeID:
		return n.removeMember(ctx, id)
	}
	return n.peers.Command(ctx, leader, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{
		RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: id}}})
}

// replaceLeader transfers leadership away from a node that is to be removed,
// if that is allowed. An error concerns the removal, of which nothing was
// done.
func (n *Node) replaceLeader(ctx context.Context, id string) (leader string, err error) {
	if err := n.checkRemoval(ctx, id); err != nil {
		return "", err
	}
	leader, err = n.TransferLeadership(ctx, "")
	return leader, removalError(id, err)
}

// removalError converts the error of a leadership transfer to one of the
// removal that it was for. The result of the transfer may be unknown, but
// nothing was removed.
func removalError(id string, err error) error {
	if err == nil || errors.Is(err, ErrRefused) {
		return err
	}
	return unavailable("%s leads, and can't be removed before another node does; repeat the removal: %v", id, err)
}

// removeMember excludes a node, and removes it from Raft's configuration and
// then from the table. It is excluded first, so that an interrupted removal
// leaves no node that may join by itself.
func (n *Node) removeMember(ctx context.Context, id string) error {
	if err := n.leadership.await(ctx); err != nil {
		return err
	}
	node, inTable := n.table.Node(id)
	switch {
	case id == n.cfg.NodeID:
		return fmt.Errorf("%w: %s is the node that leads", ErrRefused, id)
	case !inTable && !n.isServer(id) && !n.isExcluded(id):
		return fmt.Errorf("%w: there is no node %s", ErrRefused, id)
	}
	if err := n.checkRemoval(ctx, id); err != nil {
		return err
	}
	if err := n.excludeNode(ctx, id); err != nil {
		return err
	}
	if err := n.raft.RemoveServer(raft.ServerID(id), 0, configTimeout).Error(); err != nil {
		return unknown("taking %s out of Raft's configuration: %w", id, err)
	}
	n.configChanged.Notify()
	if !inTable {
		return nil
	}
	if !node.Down {
		n.markDown(ctx, node)
	}
	if err := n.removeFromTable(ctx, id); err != nil {
		return unknown("%s is no longer part of the site, but still in its table; repeat the removal: %w", id, err)
	}
	return nil
}

// excludeNode excludes a removed node and all its known certificates from the
// site. That is not possible while older versions are part of the site.
func (n *Node) excludeNode(ctx context.Context, id string) error {
	if !n.table.RemovesNodes() {
		n.cfg.Logger.Warn("the removed node may ask to join again: the site's schema is too old to keep it out", "node", id, "schema", n.table.Schema())
		return nil
	}
	c := &storev1.ExcludeNode{Node: id}
	for _, f := range n.link.Certificates(id) {
		c.Fingerprint = append(c.Fingerprint, f[:])
	}
	return n.proposeOne(ctx, &storev1.Change{Kind: &storev1.Change_ExcludeNode{ExcludeNode: c}})
}

// isExcluded reports whether the table excludes an ID from the site.
func (n *Node) isExcluded(id string) bool {
	return slices.ContainsFunc(n.table.RemovedNodes(), func(r store.RemovedNode) bool { return r.ID == id && r.Excluded })
}

// AdmitNode allows a removed node to join again, with an empty data directory
// and another certificate. It may be called on any node. An error that wraps
// ErrNotRemoved means that no node with that ID was removed.
func (n *Node) AdmitNode(ctx context.Context, id string) error {
	return n.proposeOne(ctx, &storev1.Change{Kind: &storev1.Change_AdmitNode{AdmitNode: &storev1.AdmitNode{Node: id}}})
}

// proposeOne proposes one change and converts its refusal to an error.
func (n *Node) proposeOne(ctx context.Context, c *storev1.Change) error {
	results, err := n.propose(ctx, c)
	switch {
	case err != nil:
		return err
	case results[0].Refusal == store.NoNode:
		return fmt.Errorf("%w: %s", ErrNotRemoved, results[0].Detail)
	case results[0].Refusal != store.None:
		return fmt.Errorf("%w: %s", ErrRefused, results[0].Detail)
	}
	return nil
}

// removeFromTable removes a node from the table after its bindings were
// reaped.
func (n *Node) removeFromTable(ctx context.Context, id string) error {
	for {
		changed := n.nodesChanged.Changed()
		results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_RemoveNode{RemoveNode: &storev1.RemoveNode{Node: id}}})
		if err != nil {
			return err
		}
		switch r := results[0]; r.Refusal {
		case store.None, store.NoNode:
			return nil
		case store.NodeInUse:
		default:
			return fmt.Errorf("%w: %s", ErrRefused, r.Detail)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable("the users of %s are not all reaped yet: %w", id, ctx.Err())
		}
	}
}
