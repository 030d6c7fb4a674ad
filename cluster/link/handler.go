package link

import (
	"context"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Handler serves the calls of other nodes. Its methods are called from many
// goroutines. Errors are transmitted: ErrUnavailable, ErrUnknown and
// *NotLeaderError arrive as such, wrapped or not; any other error arrives as
// ErrUnknown from Propose and as ErrUnavailable from the other methods.
type Handler interface {
	// Deliver delivers a message from another node and calls done exactly once.
	// Neither blocks. Outcomes are those of protocol.Inbox, and 480 if the
	// session is not here.
	Deliver(from string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// Propose commits batches as the leader, and returns nil once they are
	// applied.
	Propose(ctx context.Context, from string, batches []*storev1.Batch) error
	// ReadIndex confirms that this node leads, and returns the index of its
	// table: no acknowledged change has a greater one.
	ReadIndex(ctx context.Context) (uint64, error)
	// Applied returns nil once this node's table has reached index.
	Applied(ctx context.Context, index uint64) error
	// Watchers returns who watches user on this node.
	Watchers(user protocol.Address) []protocol.Address
	// Kick closes the user's connections here, or only the one with session s,
	// and returns how many it closed.
	Kick(user protocol.Address, s *store.Session) int
	Status(ctx context.Context) (*clusterv1.StatusResponse, error)
	// Probe returns what data this node has; details of the site only to its
	// nodes.
	Probe(ctx context.Context, from string) (*clusterv1.ProbeResponse, error)
	// Copy writes this node's table once it contains Raft log entry log, in
	// pieces of at most 64 KiB. Each piece names the newest entry in the copy.
	Copy(ctx context.Context, log uint64, write func(newest uint64, octets []byte) error) error
	// Command performs an administrative command for another node.
	Command(ctx context.Context, from string, c *clusterv1.CommandRequest) error
	// Failed counts failed logins that another node reported. It does not block.
	Failed(a protocol.Attempt, times int)
	// Succeeded records a login from a new source that another node reported. It
	// does not block.
	Succeeded(a protocol.Attempt)
	Membership
}

// Membership receives events about the other nodes, one call at a time, in
// order, from one goroutine of the link. It should not block for long. The
// events are hints; see Link.Connectivity for the present state.
type Membership interface {
	// MemberUp: gossip has found a node, its metadata has changed, or a
	// suspected node was reached again.
	MemberUp(m Member)
	// MemberSuspect: a node does not respond. Called at each change of how.
	MemberSuspect(id string, how Suspicion)
	// MemberLeft: a node has announced that it leaves.
	MemberLeft(id string)
}
