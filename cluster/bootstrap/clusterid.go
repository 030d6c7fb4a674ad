package bootstrap

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// A site that is formed again after its data was wiped has the name of the old
// one, and often its keys, node ids and addresses. Raft identifies servers by
// their ids alone: a node that comes back with the data of the old site would
// vote with a log that has nothing to do with the new one, and would overwrite
// the new log if its own is longer. So each site that is formed has a random
// cluster ID. The nodes store it with their data and send it with every call of
// Raft. A site that was formed before there were cluster IDs has none.

// NewClusterID returns a random cluster ID.
func NewClusterID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// chooseClusterID returns the ID of the cluster that is about to be formed:
// the one accepted earlier, if any; empty if another node's version does not
// know cluster IDs.
func (b *Bootstrap) chooseClusterID(others []*clusterv1.ProbeResponse) string {
	id := b.config.Manifest.Get()
	if len(id.InitialVoters) > 0 {
		return id.ClusterID
	}
	for _, p := range others {
		if p.ClusterId == nil {
			return ""
		}
	}
	return NewClusterID()
}

// foreignClusterGrace delays the end of a node that finds only another
// cluster, because its own may be about to start.
const foreignClusterGrace = 15 * time.Second

// WatchClusterID stops a node that has data, but finds another cluster with
// the site's name working and no node of its own.
func (b *Bootstrap) WatchClusterID(ctx context.Context) {
	tick := time.NewTicker(b.config.Interval)
	defer tick.Stop()
	for since := time.Now(); b.config.Leader() == ""; {
		switch err := b.checkForeignCluster(b.probeClusters(ctx)); {
		case err == nil:
			since = time.Now()
		case time.Since(since) >= foreignClusterGrace:
			b.config.Fatal(err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probeClusters asks the other nodes in Raft's configuration what data they
// have, and those of other clusters that gossip has met.
func (b *Bootstrap) probeClusters(ctx context.Context) []*clusterv1.ProbeResponse {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all := b.config.Link.ProbeForeign(ctx)
	for _, s := range b.config.Servers() {
		if id := string(s.ID); id != b.config.NodeID {
			if p, err := b.config.Peers.Probe(ctx, id); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// checkForeignCluster returns why this node does not belong to those that
// have answered, or nil.
func (b *Bootstrap) checkForeignCluster(others []*clusterv1.ProbeResponse) error {
	id := b.config.Manifest.Get()
	var foreign *clusterv1.ProbeResponse
	for _, p := range others {
		switch {
		case !id.Dirty || p.HasState && !isOtherCluster(p, id.ClusterID):
			return nil
		case p.Leader != "" && isOtherCluster(p, id.ClusterID):
			foreign = p
		}
	}
	if foreign == nil {
		return nil
	}
	return fmt.Errorf("the data directory %s has another cluster ID of the site %s than %s, which has a leader: "+
		"bring this node's own data back, or have it join as new: simpd wipe --data-dir %s --yes, and start it", b.config.DataDir, id.Site, foreign.Node, b.config.DataDir)
}

// isOtherCluster reports whether a node said that its data belongs to another
// cluster.
func isOtherCluster(p *clusterv1.ProbeResponse, clusterID string) bool {
	if p.ClusterId != nil {
		return p.GetClusterId() != clusterID
	}
	return len(p.ClusterIdSum) > 0 && !bytes.Equal(p.ClusterIdSum, ClusterIDSum(clusterID))
}

// ClusterIDSum returns a hash of a cluster ID, which lets a node compare a cluster ID that it may not know.
func ClusterIDSum(clusterID string) []byte {
	sum := sha256.Sum256([]byte("simp founding " + clusterID))
	return sum[:]
}
