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
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// A site that is founded anew has the name of the one before it, and often its
// keys, its nodes' ids and their addresses. Raft knows its servers by their
// ids alone: a node that comes back with the data of the old site would vote
// with a log that has nothing to do with the new one's, and overwrite it if
// its own is longer. So each founding has a random word. The nodes keep it
// with their data, and every call of Raft bears it. A site that was founded
// before there were such words has none.

var errOtherFounding = errors.New("the data of one of the two is of another founding of the site")

func newFounding() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// foundingFor chooses the word of the site that is about to be founded: the
// one that was promised, if one was; none if one of the others is of a version
// that knows none.
func (n *Node) foundingFor(others []*clusterv1.ProbeResponse) string {
	id := n.disk.marker.get()
	if len(id.Form) > 0 {
		return id.Founding
	}
	for _, p := range others {
		if p.Founding == nil {
			return ""
		}
	}
	return newFounding()
}

// belong ends a node that has data, but finds a site of another founding at
// work and none of its own.
func (n *Node) belong(ctx context.Context) {
	tick := time.NewTicker(n.pace.duties)
	defer tick.Stop()
	for n.Leader() == "" {
		others, _ := n.probeOthers(ctx)
		if err := n.stray(others); err != nil {
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

func (n *Node) stray(others []*clusterv1.ProbeResponse) error {
	id := n.disk.marker.get()
	for _, p := range others {
		if id.Begun && p.Leader != "" && isOfAnother(p, id.Founding) {
			return fmt.Errorf("the data directory %s is of another founding of the site %s than that of %s, which has a leader: "+
				"bring this node's own data back, or have it join as new: simpd wipe --data-dir %s --yes, and start it", n.disk.dir, id.Site, p.Node, n.disk.dir)
		}
	}
	return nil
}

// isOfAnother reports whether a node said that its data is of another founding.
func isOfAnother(p *clusterv1.ProbeResponse, founding string) bool {
	if p.Founding != nil {
		return p.GetFounding() != founding
	}
	return len(p.FoundingSum) > 0 && !bytes.Equal(p.FoundingSum, foundingSum(founding))
}

// foundingSum lets a node compare a founding's word that it may not know.
func foundingSum(founding string) []byte {
	sum := sha256.Sum256([]byte("simp founding " + founding))
	return sum[:]
}

// mark puts the founding's word into the header of a call that goes out.
func (g *gate) mark(h raft.RPCHeader) raft.RPCHeader {
	if word := g.founding(); word != "" {
		h.ID = append(append(bytes.Clone(h.ID), link.RaftIDEnd), word...)
	}
	return h
}

// unmark takes it from one that came in, which has to bear this node's.
func (g *gate) unmark(c raft.RPC) error {
	h := link.RaftHeader(c)
	if h == nil {
		return fmt.Errorf("a call of Raft that is not known: %T", c.Command)
	}
	id, word, _ := bytes.Cut(h.ID, []byte{link.RaftIDEnd})
	if string(word) != g.founding() {
		return errOtherFounding
	}
	h.ID = id
	return nil
}

// AppendEntriesPipeline is not to be had: one call at a time is under way.
func (g *gate) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries, or a heartbeat.
func (g *gate) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	marked := *args
	marked.RPCHeader = g.mark(args.RPCHeader)
	return g.Transport.AppendEntries(id, addr, &marked, resp)
}

// RequestVote asks a node for its vote.
func (g *gate) RequestVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	marked := *args
	marked.RPCHeader = g.mark(args.RPCHeader)
	return g.Transport.RequestVote(id, addr, &marked, resp)
}

// RequestPreVote asks a node whether it would vote.
func (g *gate) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	marked := *args
	marked.RPCHeader = g.mark(args.RPCHeader)
	return g.Transport.(raft.WithPreVote).RequestPreVote(id, addr, &marked, resp)
}

// InstallSnapshot sends a snapshot.
func (g *gate) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	marked := *args
	marked.RPCHeader = g.mark(args.RPCHeader)
	return g.Transport.InstallSnapshot(id, addr, &marked, resp, data)
}

// TimeoutNow has a node stand for election at once.
func (g *gate) TimeoutNow(id raft.ServerID, addr raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	marked := *args
	marked.RPCHeader = g.mark(args.RPCHeader)
	return g.Transport.TimeoutNow(id, addr, &marked, resp)
}
