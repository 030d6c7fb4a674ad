package cluster

import (
	"context"

	"simpd/cluster/peerrpc"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// SourceKeys asks the leader for the keys of the provider of an account source.
// isLeader reports that this node leads, and so has to fetch them itself. An
// error that is ErrRefused means that the leader has no such keys.
func (n *Node) SourceKeys(ctx context.Context, r *clusterv1.SourceKeysRequest) (keys *clusterv1.ProviderKeys, isLeader bool, err error) {
	switch leader := n.Leader(); leader {
	case n.cfg.NodeID:
		return nil, true, nil
	case "":
		return nil, false, &peerrpc.NotLeaderError{}
	default:
		keys, err = n.peers.SourceKeys(ctx, leader, r)
		return keys, false, err
	}
}

// sourceKeysHere returns the keys of a provider for another node, if this node
// leads.
func (n *Node) sourceKeysHere(ctx context.Context, r *clusterv1.SourceKeysRequest) (*clusterv1.ProviderKeys, error) {
	if leader := n.Leader(); leader != n.cfg.NodeID {
		return nil, &peerrpc.NotLeaderError{Leader: leader}
	}
	if n.cfg.SourceKeys == nil {
		return nil, peerrpc.ErrRefused
	}
	return n.cfg.SourceKeys(ctx, r)
}
