package link

import (
	"context"
	"errors"
	"net"
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

// Dial connects to the server whose ID raftTransport gives as the address. Raft
// itself does not check identities: if another node now used the address, it
// would respond and be counted as the intended one.
func (r raftStreamLayer) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := r.link.dial(ctx, string(id), r.link.members.configuredAddr(string(id)), raftProtocol)
	if err != nil {
		return nil, err // not a net.Conn that is no connection
	}
	return conn, nil
}

// serverIDs makes Raft's transport dial servers by their IDs.
type serverIDs struct{}

// ServerAddr returns what Dial is to be called with for a server.
func (serverIDs) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(id), nil
}

// raftTransport is Raft's network transport, with servers identified by ID.
type raftTransport struct {
	*raft.NetworkTransport // to other nodes
	*raftInbound           // from them
}

// Consumer returns the calls of other nodes.
func (t raftTransport) Consumer() <-chan raft.RPC { return t.raftInbound.calls }

// SetHeartbeatHandler sets Raft's fast path for heartbeats.
func (t raftTransport) SetHeartbeatHandler(f func(raft.RPC)) { t.raftInbound.setHeartbeatHandler(f) }

// EncodePeer returns this node's address for the headers of its calls.
func (t raftTransport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

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

		ServerAddressProvider: serverIDs{},
	}
	return raftTransport{raft.NewNetworkTransportWithConfig(&config), newRaftInbound(l, config)}
}
