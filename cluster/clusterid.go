package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// A site that is formed again after its data was wiped has the name of the old
// one, and often its keys, node ids and addresses. Raft identifies servers by
// their ids alone: a node that comes back with the data of the old site would
// vote with a log that has nothing to do with the new one, and would overwrite
// the new log if its own is longer. So each site that is formed has a random
// cluster ID. The nodes store it with their data and send it with every call of
// Raft. A site that was formed before there were cluster IDs has none.

var (
	errOtherCluster = errors.New("one of the two has data with another cluster ID")
	errOtherProcess = errors.New("another process runs as that node")
)

func newClusterID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// chooseClusterID returns the ID of the cluster that is about to be formed:
// the one accepted earlier, if any; empty if another node's version does not
// know cluster IDs.
func (n *Node) chooseClusterID(others []*clusterv1.ProbeResponse) string {
	id := n.storage.Manifest.Get()
	if len(id.InitialVoters) > 0 {
		return id.ClusterID
	}
	for _, p := range others {
		if p.Founding == nil {
			return ""
		}
	}
	return newClusterID()
}

// foreignClusterGrace delays the end of a node that finds only another
// cluster, because its own may be about to start.
const foreignClusterGrace = 15 * time.Second

// watchClusterID stops a node that has data, but finds another cluster with
// the site's name working and no node of its own.
func (n *Node) watchClusterID(ctx context.Context) {
	tick := time.NewTicker(n.timeouts.dutyInterval)
	defer tick.Stop()
	for since := time.Now(); n.Leader() == ""; {
		switch err := n.checkForeignCluster(n.probeClusters(ctx)); {
		case err == nil:
			since = time.Now()
		case time.Since(since) >= foreignClusterGrace:
			n.cfg.Fatal(err)
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
func (n *Node) probeClusters(ctx context.Context) []*clusterv1.ProbeResponse {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all := n.link.ProbeForeign(ctx)
	for _, s := range n.servers() {
		if id := string(s.ID); id != n.cfg.NodeID {
			if p, err := n.peers.Probe(ctx, id); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// checkForeignCluster returns why this node does not belong to those that
// have answered, or nil.
func (n *Node) checkForeignCluster(others []*clusterv1.ProbeResponse) error {
	id := n.storage.Manifest.Get()
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
		"bring this node's own data back, or have it join as new: simpd wipe --data-dir %s --yes, and start it", n.storage.Dir, id.Site, foreign.Node, n.storage.Dir)
}

// isOtherCluster reports whether a node said that its data belongs to another
// cluster.
func isOtherCluster(p *clusterv1.ProbeResponse, clusterID string) bool {
	if p.Founding != nil {
		return p.GetFounding() != clusterID
	}
	return len(p.FoundingSum) > 0 && !bytes.Equal(p.FoundingSum, clusterIDSum(clusterID))
}

// clusterIDSum lets a node compare a cluster ID that it may not know.
func clusterIDSum(clusterID string) []byte {
	sum := sha256.Sum256([]byte("simp founding " + clusterID))
	return sum[:]
}

// stampHeader puts the cluster ID into the header of an outgoing call, and
// the incarnation of this process if the other node's version accepts it.
func (g *guardedTransport) stampHeader(to raft.ServerID, h raft.RPCHeader) raft.RPCHeader {
	word, takesBoot := g.clusterID(), g.processes.ChecksIncarnation(string(to))
	if word == "" && !takesBoot {
		return h
	}
	h.ID = append(append(bytes.Clone(h.ID), link.RaftIDEnd), word...)
	if takesBoot {
		h.ID = strconv.AppendUint(append(h.ID, link.RaftIDEnd), g.incarnation, 16)
	}
	return h
}

// checkHeader removes them from an incoming call, which must carry this
// cluster's ID and come from the process that runs as its node.
func (g *guardedTransport) checkHeader(c raft.RPC) error {
	h := link.RaftHeader(c)
	if h == nil {
		return fmt.Errorf("a call of Raft that is not known: %T", c.Command)
	}
	id, marks, _ := bytes.Cut(h.ID, []byte{link.RaftIDEnd})
	word, number, _ := bytes.Cut(marks, []byte{link.RaftIDEnd})
	if string(word) != g.clusterID() {
		return errOtherCluster
	}
	boot, err := uint64(0), error(nil)
	if len(number) > 0 {
		boot, err = strconv.ParseUint(string(number), 16, 64)
	}
	if err != nil || !g.processes.AcceptsRaftFrom(string(id), boot) {
		return errOtherProcess
	}
	h.ID = id
	return nil
}

// AppendEntriesPipeline is not supported: one call at a time is in flight.
func (g *guardedTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries, or a heartbeat.
func (g *guardedTransport) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	marked := *args
	marked.RPCHeader = g.stampHeader(id, args.RPCHeader)
	return g.Transport.AppendEntries(id, addr, &marked, resp)
}

// RequestVote asks a node for its vote.
func (g *guardedTransport) RequestVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	marked := *args
	marked.RPCHeader = g.stampHeader(id, args.RPCHeader)
	return g.Transport.RequestVote(id, addr, &marked, resp)
}

// RequestPreVote asks a node whether it would vote.
func (g *guardedTransport) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	marked := *args
	marked.RPCHeader = g.stampHeader(id, args.RPCHeader)
	return g.Transport.(raft.WithPreVote).RequestPreVote(id, addr, &marked, resp)
}

// InstallSnapshot sends a snapshot.
func (g *guardedTransport) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	marked := *args
	marked.RPCHeader = g.stampHeader(id, args.RPCHeader)
	return g.Transport.InstallSnapshot(id, addr, &marked, resp, data)
}

// TimeoutNow has a node stand for election at once.
func (g *guardedTransport) TimeoutNow(id raft.ServerID, addr raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	marked := *args
	marked.RPCHeader = g.stampHeader(id, args.RPCHeader)
	return g.Transport.TimeoutNow(id, addr, &marked, resp)
}
