package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftLayer carries Raft's calls to other nodes over the cluster listener.
type raftLayer struct {
	*queue // which stays empty: raftInbound has what comes in
	link   *Link
}

// Dial reaches a server by the name that raftTransport gives it, ID@ADDRESS.
// Raft itself asks nobody who he is: at an address that another node uses now,
// that node would answer, and be counted, for the one that was meant.
func (r raftLayer) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, addr, ok := strings.Cut(string(target), "@")
	if !ok {
		return nil, errors.New("raft dials a server without its id")
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := r.link.dial(ctx, id, addr, raftProtocol)
	if err != nil {
		return nil, err // not a net.Conn that is no connection
	}
	return conn, nil
}

// raftTransport is Raft's own network transport, but that each server is
// reached by its id as well as its address, and speaks for itself alone.
type raftTransport struct {
	*raft.NetworkTransport // to other nodes
	*raftInbound           // from them
}

// Consumer returns the calls of other nodes.
func (t raftTransport) Consumer() <-chan raft.RPC { return t.raftInbound.calls }

// SetHeartbeatHandler sets Raft's short cut for heartbeats.
func (t raftTransport) SetHeartbeatHandler(f func(raft.RPC)) { t.raftInbound.setHeartbeatHandler(f) }

// Close ends both ways.
func (t raftTransport) Close() error {
	return errors.Join(t.NetworkTransport.Close(), t.raftInbound.close())
}

// RaftTransport is Raft's transport over the cluster listener. It reaches
// servers where gossip knows them to be, and until then at their addresses in
// Raft's configuration; who answers has to be the server that was meant. It
// is to be called once.
func (l *Link) RaftTransport(logger hclog.Logger) raft.Transport {
	config := raft.NetworkTransportConfig{
		Stream:  raftLayer{newQueue(l.mux.raft.Addr()), l},
		MaxPool: 3,
		// With more than one, a follower can be left behind for ever (hashicorp/raft #612).
		MaxRPCsInFlight: 1,
		Timeout:         raftTimeout,
		Logger:          logger,
	}
	return raftTransport{raft.NewNetworkTransportWithConfig(&config), newRaftInbound(l, config)}
}

func server(id raft.ServerID, at raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(fmt.Sprintf("%s@%s", id, at))
}

func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, at raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, server(id, at))
}

func (t raftTransport) AppendEntries(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, server(id, at), args, resp)
}

func (t raftTransport) RequestVote(id raft.ServerID, at raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, server(id, at), args, resp)
}

func (t raftTransport) RequestPreVote(id raft.ServerID, at raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, server(id, at), args, resp)
}

func (t raftTransport) InstallSnapshot(id raft.ServerID, at raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, server(id, at), args, resp, data)
}

func (t raftTransport) TimeoutNow(id raft.ServerID, at raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, server(id, at), args, resp)
}
