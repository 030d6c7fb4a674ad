// Package link is everything that crosses between the nodes of a site: one
// TCP listener that Raft and gRPC share, mutual TLS in which a certificate
// names the site and the node, a stream of messages for each pair of nodes,
// calls to single nodes, and gossip.
//
// It carries and tells; it decides nothing. Gossip and broken streams only
// suspect: who is down is a matter of the table.
package link

import (
	"context"
	"log/slog"
	"net"
	"time"

	"simpd/cluster/link/pki"
)

// Config says how a node reaches the others and is reached.
type Config struct {
	NodeID string
	Site   string
	// Identity holds the certificates between nodes. Nil: nothing is
	// encrypted and nobody is proved to be anybody, for loopback only.
	Identity *pki.Identity
	// Listener is the cluster listener, a plain one; Close closes it.
	Listener net.Listener
	// Dial reaches another node's cluster listener, without TLS. Nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Member is what this node tells of itself by gossip. ID is filled in,
	// and ClusterAddr where it is empty, from Listener.
	Member  Member
	Gossip  GossipConfig
	Handler Handler
	// Admit is asked about each node that connects or is dialled; an error
	// turns it away: it was removed. Nil: all nodes of the site.
	Admit  func(node string) error
	Logger *slog.Logger // nil: none
}

// The times that nodes hold each other to.
const (
	handshakeTimeout = 5 * time.Second
	dialTimeout      = 2 * time.Second
	pingInterval     = 1 * time.Second
	silenceTimeout   = 3 * time.Second
	raftTimeout      = 5 * time.Second
)
