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

// raftLayer carries Raft over the cluster listener.
type raftLayer struct {
	*queue
	link *Link
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
// reached by its id as well as its address.
type raftTransport struct{ *raft.NetworkTransport }

// RaftTransport is Raft's transport over the cluster listener. It reaches
// servers where gossip knows them to be, and until then at their addresses in
// Raft's configuration; who answers has to be the server that was meant. It
// is to be called once.
func (l *Link) RaftTransport(logger hclog.Logger) raft.Transport {
	return raftTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  raftLayer{l.mux.raft, l},
		MaxPool: 3,
		// With more than one, a follower can be left behind for ever (hashicorp/raft #612).
		MaxRPCsInFlight: 1,
		Timeout:         raftTimeout,
		Logger:          logger,
	})}
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
