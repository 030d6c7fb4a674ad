package cluster

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// peers is the connection to the other nodes: *link.Link, or noPeers for a
// single node.
type peers interface {
	Start() error
	Addr() string
	RaftTransport(logger hclog.Logger) raft.Transport
	SetConfiguration(c link.Configuration)
	SetRemoved(r link.Removed)
	IsMember(node string) bool
	AcceptsRaftFrom(node string, boot uint64) bool
	ChecksIncarnation(node string) bool
	RunningProcess(node string) (incarnation uint64, addr string)
	Certificates(node string) []store.Fingerprint
	Members() []link.Member
	AddrOf(node string) string
	Connectivity(node string) link.Connectivity
	UpdateMember(change func(*link.Member)) error
	SetKeys(keys [][]byte) error

	Deliver(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	Failed(a protocol.Attempt)
	Succeeded(a protocol.Attempt)
	Propose(ctx context.Context, node string, b []*storev1.Batch) error
	ReadIndex(ctx context.Context, node string) (uint64, error)
	Applied(ctx context.Context, node string, index uint64) error
	Watchers(ctx context.Context, node string, user protocol.Address) ([]protocol.Address, error)
	Kick(ctx context.Context, node string, user protocol.Address, s *store.Session) (int, error)
	Status(ctx context.Context, node string) (*clusterv1.StatusResponse, error)
	Probe(ctx context.Context, node string) (*clusterv1.ProbeResponse, error)
	ProbeForeign(ctx context.Context) []*clusterv1.ProbeResponse
	Command(ctx context.Context, node string, c *clusterv1.CommandRequest) error
	Copy(ctx context.Context, node string, log uint64, w io.Writer) (newest uint64, err error)

	Fatal() <-chan error
	Leave() error
	Close() error
}

// openLink opens the connections to the other nodes. Without a listener there
// are none, and this node is a site by itself.
func (n *Node) openLink() (peers, error) {
	c := n.cfg.Link
	if c.Listener == nil {
		return newNoPeers(n.cfg.NodeID), nil
	}
	c.NodeID, c.Site, c.Logger = n.cfg.NodeID, n.cfg.Site, n.cfg.Logger
	c.Handler = peerHandler{n}
	c.InTouch, c.Lineage, c.Check = n.inTouch, n.lineage, n.checkProcess
	m := &c.Member
	m.ID, m.Incarnation, m.Version = n.cfg.NodeID, n.incarnation, n.cfg.Version
	m.MinSchema, m.MaxSchema = minSchema, n.table.Newest()
	m.BootstrapExpect, m.Replica = n.cfg.BootstrapExpect, n.cfg.Replica
	l, err := link.Open(c)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// noPeers replaces the link of a single node.
type noPeers struct {
	transport *raft.InmemTransport
}

func newNoPeers(id string) *noPeers {
	_, t := raft.NewInmemTransport(raft.ServerAddress(id))
	return &noPeers{t}
}

func (*noPeers) Start() error                                { return nil }
func (a *noPeers) Addr() string                              { return string(a.transport.LocalAddr()) }
func (a *noPeers) RaftTransport(hclog.Logger) raft.Transport { return a.transport }
func (*noPeers) SetConfiguration(link.Configuration)         {}
func (*noPeers) SetRemoved(link.Removed)                     {}
func (*noPeers) IsMember(string) bool                        { return false }
func (*noPeers) AcceptsRaftFrom(string, uint64) bool         { return true }
func (*noPeers) RunningProcess(string) (uint64, string)      { return 0, "" }
func (*noPeers) ChecksIncarnation(string) bool               { return false }
func (*noPeers) Certificates(string) []store.Fingerprint     { return nil }
func (*noPeers) Members() []link.Member                      { return nil }
func (*noPeers) AddrOf(string) string                        { return "" }
func (*noPeers) Connectivity(string) link.Connectivity       { return link.Connectivity{} }
func (*noPeers) UpdateMember(func(*link.Member)) error       { return nil }
func (*noPeers) SetKeys([][]byte) error                      { return nil }
func (*noPeers) Failed(protocol.Attempt)                     {}
func (*noPeers) Succeeded(protocol.Attempt)                  {}
func (*noPeers) Fatal() <-chan error                         { return nil }
func (*noPeers) Leave() error                                { return nil }
func (*noPeers) Close() error                                { return nil }

func (*noPeers) Deliver(_ string, _ store.Session, _ *protocol.Message, done func(protocol.Outcome)) {
	done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "there is no other node"})
}

func (*noPeers) Propose(_ context.Context, node string, _ []*storev1.Batch) error {
	return noNode(node)
}

func (*noPeers) ReadIndex(_ context.Context, node string) (uint64, error) { return 0, noNode(node) }

func (*noPeers) Applied(_ context.Context, node string, _ uint64) error { return noNode(node) }

func (*noPeers) Watchers(_ context.Context, node string, _ protocol.Address) ([]protocol.Address, error) {
	return nil, noNode(node)
}

func (*noPeers) Kick(_ context.Context, node string, _ protocol.Address, _ *store.Session) (int, error) {
	return 0, noNode(node)
}

func (*noPeers) Status(_ context.Context, node string) (*clusterv1.StatusResponse, error) {
	return nil, noNode(node)
}

func (*noPeers) Probe(_ context.Context, node string) (*clusterv1.ProbeResponse, error) {
	return nil, noNode(node)
}

func (*noPeers) ProbeForeign(context.Context) []*clusterv1.ProbeResponse { return nil }

func (*noPeers) Copy(_ context.Context, node string, _ uint64, _ io.Writer) (uint64, error) {
	return 0, noNode(node)
}
func (*noPeers) Command(_ context.Context, node string, _ *clusterv1.CommandRequest) error {
	return noNode(node)
}

// callLeader sends batches to a leader on another node.
func (n *Node) callLeader(ctx context.Context, leader string, b []*storev1.Batch) error {
	return n.link.Propose(ctx, leader, b)
}

func noNode(node string) error {
	return unavailable("this node is alone, there is no node %s", node)
}
