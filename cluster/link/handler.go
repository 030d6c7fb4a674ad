package link

import (
	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/store"
)

// Handler handles what other nodes send on their streams. Its methods are
// called from many goroutines.
type Handler interface {
	// ReceiveMessage delivers a message from another node and calls done exactly
	// once. Neither blocks. Outcomes are those of protocol.Inbox, and 480 if the
	// session is not here.
	ReceiveMessage(from string, s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// Failed counts failed logins that another node reported. It does not block.
	Failed(a protocol.Attempt, times int)
	// Succeeded records a login from a new source that another node reported. It
	// does not block.
	Succeeded(a protocol.Attempt)
	// Counted counts what another node has counted of the site's limits. It does
	// not block.
	Counted(from string, counts []ratelimit.Count)
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
