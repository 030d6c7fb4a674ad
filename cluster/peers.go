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

// peers is the way to the other nodes: *link.Link, or none for a node alone.
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

// openLink opens the way to the other nodes. Without a listener there is none,
// and this node is a site by itself.
func (n *Node) openLink() (peers, error) {
	c := n.cfg.Link
	if c.Listener == nil {
		return newAlone(n.cfg.NodeID), nil
	}
	c.NodeID, c.Site, c.Logger = n.cfg.NodeID, n.cfg.Site, n.cfg.Logger
	c.Handler = inbound{n}
	c.InTouch, c.Lineage, c.Check = n.inTouch, n.lineage, n.checkProcess
	m := &c.Member
	m.ID, m.Incarnation, m.Version = n.cfg.NodeID, n.boot, n.cfg.Version
	m.MinSchema, m.MaxSchema = minSchema, n.table.Newest()
	m.BootstrapExpect, m.Replica = n.cfg.BootstrapExpect, n.cfg.Replica
	l, err := link.Open(c)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// alone is the way to other nodes where there are none.
type alone struct {
	transport *raft.InmemTransport
}

func newAlone(id string) *alone {
	_, t := raft.NewInmemTransport(raft.ServerAddress(id))
	return &alone{t}
}

func (*alone) Start() error                                { return nil }
func (a *alone) Addr() string                              { return string(a.transport.LocalAddr()) }
func (a *alone) RaftTransport(hclog.Logger) raft.Transport { return a.transport }
func (*alone) SetConfiguration(link.Configuration)         {}
func (*alone) SetRemoved(link.Removed)                     {}
func (*alone) IsMember(string) bool                        { return false }
func (*alone) AcceptsRaftFrom(string, uint64) bool         { return true }
func (*alone) RunningProcess(string) (uint64, string)      { return 0, "" }
func (*alone) ChecksIncarnation(string) bool               { return false }
func (*alone) Certificates(string) []store.Fingerprint     { return nil }
func (*alone) Members() []link.Member                      { return nil }
func (*alone) AddrOf(string) string                        { return "" }
func (*alone) Connectivity(string) link.Connectivity       { return link.Connectivity{} }
func (*alone) UpdateMember(func(*link.Member)) error       { return nil }
func (*alone) SetKeys([][]byte) error                      { return nil }
func (*alone) Failed(protocol.Attempt)                     {}
func (*alone) Succeeded(protocol.Attempt)                  {}
func (*alone) Fatal() <-chan error                         { return nil }
func (*alone) Leave() error                                { return nil }
func (*alone) Close() error                                { return nil }

func (*alone) Deliver(_ string, _ store.Session, _ *protocol.Message, done func(protocol.Outcome)) {
	done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "there is no other node"})
}

func (*alone) Propose(_ context.Context, node string, _ []*storev1.Batch) error {
	return noNode(node)
}

func (*alone) ReadIndex(_ context.Context, node string) (uint64, error) { return 0, noNode(node) }

func (*alone) Applied(_ context.Context, node string, _ uint64) error { return noNode(node) }

func (*alone) Watchers(_ context.Context, node string, _ protocol.Address) ([]protocol.Address, error) {
	return nil, noNode(node)
}

func (*alone) Kick(_ context.Context, node string, _ protocol.Address, _ *store.Session) (int, error) {
	return 0, noNode(node)
}

func (*alone) Status(_ context.Context, node string) (*clusterv1.StatusResponse, error) {
	return nil, noNode(node)
}

func (*alone) Probe(_ context.Context, node string) (*clusterv1.ProbeResponse, error) {
	return nil, noNode(node)
}

func (*alone) ProbeForeign(context.Context) []*clusterv1.ProbeResponse { return nil }

func (*alone) Copy(_ context.Context, node string, _ uint64, _ io.Writer) (uint64, error) {
	return 0, noNode(node)
}
func (*alone) Command(_ context.Context, node string, _ *clusterv1.CommandRequest) error {
	return noNode(node)
}

// callLeader hands batches to a leader elsewhere.
func (n *Node) callLeader(ctx context.Context, leader string, b []*storev1.Batch) error {
	return n.link.Propose(ctx, leader, b)
}

func noNode(node string) error {
	return unavailable("this node is alone, there is no node %s", node)
}
