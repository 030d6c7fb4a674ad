package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Drain asks a node to move its clients away within that time (0: as
// configured), or to stop doing so, and returns when it has begun.
func (n *Node) Drain(ctx context.Context, node string, within time.Duration, undo bool) error {
	c := &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Drain_{
		Drain: &clusterv1.CommandRequest_Drain{Undo: undo, WithinMs: uint64(within.Milliseconds())}}}
	if node == n.cfg.NodeID {
		return n.performCommand(ctx, node, c)
	}
	return n.peers.Command(ctx, node, c)
}

var errNoCommand = errors.New("this node does not know that command")

// performCommand performs an administrative command for another node, or for
// this one.
func (n *Node) performCommand(ctx context.Context, from string, c *clusterv1.CommandRequest) error {
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_Form_:
		return n.bootstrap.AcceptProposal(from, k.Form.GetServer(), k.Form.GetClusterId())
	case *clusterv1.CommandRequest_Admit_:
		return n.bootstrap.AcceptJoin(from, k.Admit.GetClusterId())
	}
	if !n.isServer(from) || !n.link.IsMember(from) {
		return fmt.Errorf("%w: node %s is not part of the site", ErrRefused, from)
	}
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_TransferLeadership_:
		return n.transferAway(ctx, k.TransferLeadership.GetTo())
	case *clusterv1.CommandRequest_RemoveNode_:
		return n.removeMember(ctx, k.RemoveNode.GetNode())
	case *clusterv1.CommandRequest_Drain_:
		if n.cfg.Drain == nil {
			return ErrRefused
		}
		return n.cfg.Drain(ctx, time.Duration(k.Drain.GetWithinMs())*time.Millisecond, k.Drain.GetUndo())
	}
	return errors.Join(ErrRefused, errNoCommand)
}
