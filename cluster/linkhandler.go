package cluster

import (
	"simpd/cluster/link"
	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/store"
)

// linkHandler handles what other nodes send on their streams, and what gossip
// reports.
type linkHandler struct{ n *Node }

var _ link.Handler = linkHandler{}

// openLink opens the connections to the other nodes. Without a listener there
// are none, and this node is a site by itself.
func (n *Node) openLink() (*link.Link, error) {
	c := n.cfg.Link
	c.NodeID, c.Site, c.Logger = n.cfg.NodeID, n.cfg.Site, n.cfg.Logger
	c.Handler, c.Calls = linkHandler{n}, peerServer{n: n}
	c.InTouch, c.Lineage, c.Check = n.inTouch, n.lineage, n.checkProcess
	m := &c.Member
	m.ID, m.Incarnation, m.Version = n.cfg.NodeID, n.incarnation, n.cfg.Version
	m.MinSchema, m.MaxSchema = minSchema, n.table.Newest()
	m.BootstrapExpect, m.Replica = n.cfg.BootstrapExpect, n.cfg.replica
	return link.Open(c)
}

// ReceiveMessage delivers a message from another node to a session of this one.
func (h linkHandler) ReceiveMessage(_ string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	h.n.cfg.Receiver.DeliverToSession(s, m, done)
}

// Failed counts failed logins that another node reported.
func (h linkHandler) Failed(a protocol.Attempt, times int) {
	if h.n.cfg.Failed != nil {
		h.n.cfg.Failed(a, times)
	}
}

// Succeeded records a login from a new source that another node reported.
func (h linkHandler) Succeeded(a protocol.Attempt) {
	if h.n.cfg.Succeeded != nil {
		h.n.cfg.Succeeded(a)
	}
}

// Counted counts what another node has counted of the site's limits.
func (h linkHandler) Counted(from string, counts []ratelimit.Count) {
	if h.n.cfg.Counted != nil {
		h.n.cfg.Counted(from, counts)
	}
}

// MemberUp, MemberSuspect and MemberLeft make the leader look again.
func (h linkHandler) MemberUp(link.Member)                 { h.n.gossipChanged.Notify() }
func (h linkHandler) MemberSuspect(string, link.Suspicion) { h.n.gossipChanged.Notify() }
func (h linkHandler) MemberLeft(string)                    { h.n.gossipChanged.Notify() }
