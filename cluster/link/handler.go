package link

import (
	"context"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Handler answers what other nodes ask of this one. Its methods are called
// from many goroutines. What they return as errors travels: ErrUnavailable,
// ErrUnknown and *NotLeaderError arrive as such, wrapped or not; any other
// error arrives as ErrUnknown from Propose, as ErrUnavailable from the others.
type Handler interface {
	// Deliver takes a message from another node and calls done exactly once.
	// Neither blocks. Outcomes are those of protocol.Inbox, and 480 if the
	// session is not here.
	Deliver(from string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// Propose has the leader commit batches; nil once it has applied them.
	Propose(ctx context.Context, from string, batches []*storev1.Batch) error
	// ReadIndex has the leader confirm that it leads and returns the index of
	// its table: no acknowledged change has a greater one.
	ReadIndex(ctx context.Context) (uint64, error)
	// Applied returns nil once this node's table has reached index.
	Applied(ctx context.Context, index uint64) error
	// Watchers says who watches user through this node.
	Watchers(user protocol.Address) []protocol.Address
	// Kick closes the user's connections here, or only that of session s,
	// and says how many.
	Kick(user protocol.Address, s *store.Session) int
	Status(ctx context.Context) (*clusterv1.StatusResponse, error)
	// Probe says what this node has; of the site itself only to its nodes.
	Probe(ctx context.Context, from string) (*clusterv1.ProbeResponse, error)
	// Copy writes this node's table, once it holds entry log of Raft's log, in
	// pieces of at most 64 KiB; each names the newest entry in the copy.
	Copy(ctx context.Context, log uint64, write func(newest uint64, octets []byte) error) error
	// Command does an act of administration that another node asks for.
	Command(ctx context.Context, from string, c *clusterv1.CommandRequest) error
	// Failed counts failed logins that another node saw, and Succeeded notes
	// one from a new source. They do not block.
	Failed(a protocol.Attempt, times int)
	Succeeded(a protocol.Attempt)
	Membership
}

// Membership is told of the other nodes, one call at a time, in order, from
// one goroutine of the link; it should not block for long. What it is told
// are hints: see Link.Contact for what is so now.
type Membership interface {
	// MemberUp: gossip has found a node, or what it tells of itself has changed,
	// or a suspected node was reached again.
	MemberUp(m Member)
	// MemberSuspect: a node does not answer. Told at each change of how.
	MemberSuspect(id string, how Suspicion)
	// MemberLeft: a node said that it leaves.
	MemberLeft(id string)
}
