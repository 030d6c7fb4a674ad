package link

import (
	"context"
	"net/netip"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Link is a node's way to the others.
type Link struct{}

// Open begins to accept Raft's connections. All else waits for Start.
func Open(c Config) (*Link, error) { panic("soon") }

// Start begins to answer other nodes through Config.Handler, to gossip, and
// to hold a stream to each node that is known.
func (l *Link) Start() error { panic("soon") }

// RaftTransport is Raft's transport over the cluster listener. It finds nodes
// by id; the server addresses of Raft's configuration are its fallback.
func (l *Link) RaftTransport(logger hclog.Logger) raft.Transport { panic("soon") }

// Addr is what others dial to reach the cluster listener.
func (l *Link) Addr() string { panic("soon") }

// Know tells which nodes are in Raft's configuration, by id, and their
// addresses in it: streams are held to all of them, gossip calls those that
// it misses, and their addresses are used until gossip knows newer ones.
func (l *Link) Know(servers map[string]string) { panic("soon") }

// Deliver hands a message to a session on another node. It never blocks; done
// is called exactly once: with what the node answered, with 503 if the
// message was certainly not handed over there, with 201 if it may have been.
func (l *Link) Deliver(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	panic("soon")
}

// Propose has node, the leader, commit batches.
func (l *Link) Propose(ctx context.Context, node string, b []*storev1.Batch) error { panic("soon") }

// ReadIndex asks node, the leader, for an index no acknowledged change is beyond.
func (l *Link) ReadIndex(ctx context.Context, node string) (uint64, error) { panic("soon") }

// Applied returns nil once node's table has reached index.
func (l *Link) Applied(ctx context.Context, node string, index uint64) error { panic("soon") }

// Watchers says who watches user through node.
func (l *Link) Watchers(ctx context.Context, node string, user protocol.Address) ([]protocol.Address, error) {
	panic("soon")
}

// Kick closes the user's connections on node, or only that of session s.
func (l *Link) Kick(ctx context.Context, node string, user protocol.Address, s *store.Session) (int, error) {
	panic("soon")
}

// Status asks node how it is.
func (l *Link) Status(ctx context.Context, node string) (*clusterv1.StatusResponse, error) {
	panic("soon")
}

// Probe asks node what it has, before a site is formed.
func (l *Link) Probe(ctx context.Context, node string) (*clusterv1.ProbeResponse, error) {
	panic("soon")
}

// Command has node do an act of administration.
func (l *Link) Command(ctx context.Context, node string, c *clusterv1.CommandRequest) error {
	panic("soon")
}

// Failed tells all other nodes of a failed login, gathered, at the latest
// with the next ping; what a broken stream held is lost. It never blocks.
func (l *Link) Failed(source netip.Addr, user protocol.Address) { panic("soon") }

// Members are the nodes that gossip holds for alive, this one among them, in the order of their ids.
func (l *Link) Members() []Member { panic("soon") }

// Contact says how this node's own stream to another one stands.
func (l *Link) Contact(node string) Contact { panic("soon") }

// Update changes what this node tells of itself by gossip.
func (l *Link) Update(change func(*Member)) error { panic("soon") }

// SetKeys replaces the gossip keys while running: the first encrypts.
func (l *Link) SetKeys(keys [][]byte) error { panic("soon") }

// Leave tells the others that this node goes on purpose.
func (l *Link) Leave(ctx context.Context) error { panic("soon") }

// Close ends all connections and the listener, and waits for the link's goroutines.
func (l *Link) Close() error { panic("soon") }
