package cluster

import (
	"slices"

	"simpd/cluster/bootstrap"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// lineage describes this process and its data to the other nodes.
func (n *Node) lineage() *clusterv1.Lineage {
	id := n.storage.Manifest.Get()
	l := &clusterv1.Lineage{}
	if id.Dirty {
		l.ClusterIdSum = bootstrap.ClusterIDSum(id.ClusterID)
	}
	if id.Lineage != nil {
		l.History, l.Epoch, l.Incarnation = id.Lineage.History, id.Lineage.Epoch, id.Lineage.Incarnations
	}
	return l
}

// checkProcess decides by its lineage whether a process may be admitted as a
// node. Unless this node's table is certainly up to date, it believes a
// process that claims to have registered later than the table knows.
func (n *Node) checkProcess(node string, incarnation uint64, l *clusterv1.Lineage, upToDate bool) clusterv1.Rejection_Reason {
	own := n.lineage()
	if sum := l.GetClusterIdSum(); len(sum) > 0 && len(own.ClusterIdSum) > 0 && !slices.Equal(sum, own.ClusterIdSum) {
		return clusterv1.Rejection_REASON_OTHER_CLUSTER
	}
	known, ok := n.table.Node(node)
	switch {
	case !ok || l.GetEpoch() == 0 || l.History != n.table.History():
	case known.Incarnation == incarnation || slices.Contains(l.Incarnation, known.Incarnation):
	case known.Epoch > l.Epoch || upToDate:
		return clusterv1.Rejection_REASON_OLD_COPY
	}
	return clusterv1.Rejection_REASON_UNSPECIFIED
}
