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

// raftStreamLayer carries Raft's calls to other nodes over the cluster
// listener.
type raftStreamLayer struct {
	*subListener // always empty: raftInbound handles inbound connections
	link         *Link
}

// Dial connects to a server by the name that raftTransport gives it,
// ID@ADDRESS. Raft itself does not check identities: if another node now used
// the address, it would respond and be counted as the intended one.
func (r raftStreamLayer) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
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

// raftTransport is Raft's network transport, with servers identified by ID as
// well as address.
type raftTransport struct {
	*raft.NetworkTransport // to other nodes
	*raftInbound           // from them
}

// Consumer returns the calls of other nodes.
func (t raftTransport) Consumer() <-chan raft.RPC { return t.raftInbound.calls }

// SetHeartbeatHandler sets Raft's fast path for heartbeats.
func (t raftTransport) SetHeartbeatHandler(f func(raft.RPC)) { t.raftInbound.setHeartbeatHandler(f) }

// Close closes both directions.
func (t raftTransport) Close() error {
	return errors.Join(t.NetworkTransport.Close(), t.raftInbound.close())
}

// RaftTransport returns Raft's transport over the cluster listener. It
// reaches servers at the addresses that gossip knows, and until then at those
// in Raft's configuration; the handshake checks that it is the intended
// server. It must be called once.
func (l *Link) RaftTransport(logger hclog.Logger) raft.Transport {
	config := raft.NetworkTransportConfig{
		Stream:  raftStreamLayer{newSubListener(l.mux.raft.Addr()), l},
		MaxPool: 3,
		// With more than one, a follower can be left behind for ever (hashicorp/raft #612).
		MaxRPCsInFlight: 1,
		Timeout:         raftTimeout,
		Logger:          logger,
	}
	return raftTransport{raft.NewNetworkTransportWithConfig(&config), newRaftInbound(l, config)}
}

func serverAddr(id raft.ServerID, at raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(fmt.Sprintf("%s@%s", id, at))
}

func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, at raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, serverAddr(id, at))
}

func (t raftTransport) AppendEntries(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, serverAddr(id, at), args, resp)
}

func (t raftTransport) RequestVote(id raft.ServerID, at raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, serverAddr(id, at), args, resp)
}

func (t raftTransport) RequestPreVote(id raft.ServerID, at raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, serverAddr(id, at), args, resp)
}

func (t raftTransport) InstallSnapshot(id raft.ServerID, at raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, serverAddr(id, at), args, resp, data)
}

func (t raftTransport) TimeoutNow(id raft.ServerID, at raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, serverAddr(id, at), args, resp)
}
