package cluster

import (
	"io"

	"github.com/hashicorp/raft"
)

// AppendEntriesPipeline is not supported: one call at a time is in flight.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries, or a heartbeat.
func (t *transport) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.appendEntries(id, addr, args, resp)
	if err == nil && resp.Success {
		t.commits.onAppended(id, addr, args)
		t.snapshots.advance(id, args.PrevLogEntry+uint64(len(args.Entries)))
	}
	return err
}

func (t *transport) appendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	marked := *args
	marked.RPCHeader = t.headers.stamp(id, args.RPCHeader)
	return t.Transport.AppendEntries(id, addr, &marked, resp)
}

// RequestVote asks a node for its vote.
func (t *transport) RequestVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	marked := *args
	marked.RPCHeader = t.headers.stamp(id, args.RPCHeader)
	return t.Transport.RequestVote(id, addr, &marked, resp)
}

// RequestPreVote asks a node whether it would vote.
func (t *transport) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	marked := *args
	marked.RPCHeader = t.headers.stamp(id, args.RPCHeader)
	return t.Transport.(raft.WithPreVote).RequestPreVote(id, addr, &marked, resp)
}

// InstallSnapshot sends a snapshot. The entries after it are kept in the log
// meanwhile.
func (t *transport) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	marked := *args
	marked.RPCHeader = t.headers.stamp(id, args.RPCHeader)
	t.snapshots.begin(id, args.LastLogIndex)
	err := t.Transport.InstallSnapshot(id, addr, &marked, resp, data)
	t.snapshots.end(id, err)
	return err
}

// TimeoutNow has a node stand for election at once.
func (t *transport) TimeoutNow(id raft.ServerID, addr raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	marked := *args
	marked.RPCHeader = t.headers.stamp(id, args.RPCHeader)
	return t.Transport.TimeoutNow(id, addr, &marked, resp)
}
