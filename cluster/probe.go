package cluster

import (
	"time"

	"simpd/cluster/bootstrap"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// probeResponse describes this node's data to another node. The cluster ID is
// only for nodes of the site, because whoever has it can speak Raft. Others
// receive what they need to see that it is not theirs.
func (n *Node) probeResponse(from string) *clusterv1.ProbeResponse {
	id := n.storage.Manifest.Get()
	p := &clusterv1.ProbeResponse{
		Node: n.cfg.NodeID, HasState: id.Dirty, BootstrapExpect: uint32(n.cfg.BootstrapExpect), Leader: n.Leader(),
		UptimeMs: uint64(time.Since(n.started).Milliseconds()) + 1,
	}
	if id.Dirty {
		p.ClusterIdSum = bootstrap.ClusterIDSum(id.ClusterID)
	}
	p.RunningIncarnation, p.RunningAddr = n.link.RunningProcess(from)
	for _, s := range n.servers() {
		p.Server = append(p.Server, string(s.ID))
	}
	switch {
	case n.isServer(from) && n.link.IsMember(from):
		p.LastLog, p.History, p.ClusterId = n.raft.LastIndex(), n.table.History(), &id.ClusterID
	case !id.Dirty:
		p.ClusterId = new(string)
	}
	return p
}
