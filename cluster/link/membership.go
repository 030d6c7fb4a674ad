package link

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol/wait"
)

// Configuration is Raft's configuration as one node knows it.
type Configuration struct {
	Index   uint64            // Raft's index of the log that was applied then; 0: agreed on, but not in a log yet
	Servers map[string]string // cluster addresses by ID; empty: the node belongs to no site yet
	Voters  map[string]bool   // those of Servers that vote
}

// Removed lists what is excluded from the site.
type Removed struct {
	Nodes        map[string]bool          // IDs, unless they are in the configuration
	Certificates map[pki.Fingerprint]bool // permanently
}

const (
	// reviewInterval is how often membership is reviewed without an event. If
	// the last review is older than reviewTimeout, connections wait for a new
	// one, because this process was paused.
	reviewInterval = 500 * time.Millisecond
	reviewTimeout  = 3 * time.Second
	// steadyAfter is how long this node must have been in contact with the
	// leader before its log counts as up to date: long enough to hear from the
	// others.
	steadyAfter = 3 * time.Second
	// verdictTimeout is how long a Raft connection waits until the other nodes
	// have told this one who belongs to the site.
	verdictTimeout = 500 * time.Millisecond
)

// membership decides which nodes belong to the site now. A node whose log is
// up to date reads it there. A node that was away may not know yet that a
// node was removed, or which one leads now. So each node tells the others
// which configuration it knows, and a node that is behind believes the
// majority of the nodes in its configuration that are ahead.
type membership struct {
	link    *Link
	inTouch func() bool // reports whether the leader has just been heard from

	mu      sync.Mutex
	known   bool // SetConfiguration was called; nobody is admitted before
	own     Configuration
	removed Removed

	announced atomic.Pointer[clusterv1.Configuration] // what other nodes are told of own
	verdicts  atomic.Pointer[verdicts]
	changed   wait.Broadcast // an input of the decision has changed
	wake      wait.Signal
}

// verdicts holds the result of one review.
type verdicts struct {
	at           time.Time
	inTouchSince time.Time // zero if this node is not in contact with the leader
	member       map[string]bool
}

func newMembership(l *Link) *membership {
	m := &membership{link: l, inTouch: l.config.InTouch, wake: wait.NewSignal()}
	m.verdicts.Store(&verdicts{at: time.Now()})
	return m
}

// setConfiguration sets this node's own newest configuration.
func (m *membership) setConfiguration(c Configuration) {
	m.mu.Lock()
	m.known, m.own = true, c
	m.mu.Unlock()
	if c.Index > 0 && len(c.Servers) > 0 {
		told := &clusterv1.Configuration{Index: c.Index}
		for id := range c.Servers {
			told.Server = append(told.Server, id)
		}
		m.announced.Store(told)
	}
	m.review()
	m.requestReview()
}

func (m *membership) setRemoved(r Removed) {
	m.mu.Lock()
	m.removed = r
	m.mu.Unlock()
	m.review()
	m.requestReview()
}

// configuredAddr returns the address of a node in the own configuration; ""
// if it has none.
func (m *membership) configuredAddr(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own.Servers[id]
}

// requestReview wakes those who wait for a verdict, and run.
func (m *membership) requestReview() {
	m.changed.Notify()
	m.wake.Notify()
}

// run reviews the members whenever something has changed, and at intervals.
func (m *membership) run(ctx context.Context) {
	tick := time.NewTicker(reviewInterval)
	defer tick.Stop()
	for {
		m.review()
		select {
		case <-tick.C:
		case <-m.wake:
		case <-ctx.Done():
			return
		}
	}
}

// review judges all relevant nodes, and closes the connections of those that
// are no longer members.
func (m *membership) review() {
	next := m.startReview()
	opinions := m.link.peers.remoteViews()
	for _, id := range m.nodesToJudge(opinions) {
		next.member[id] = m.judge(id, opinions).isMember
	}
	before := m.verdicts.Swap(next)
	for id, was := range before.member {
		if was && !next.member[id] {
			m.link.mux.open.closeOf(id)
		}
	}
	m.link.slots.removeMemberSources(m.isMember)
	m.link.gossipSlots.removeMemberSources(m.isMember)
	m.link.mux.open.closeWhere(func(c *peerConn) bool {
		return m.isRefused(c.peerIdentity) || c.protocol == raftProtocol && c.admitted.Load() && !m.isMember(c.node)
	})
}

// startReview returns new verdicts that record whether this node has stayed
// in contact with the leader since the last review.
func (m *membership) startReview() *verdicts {
	next, last := &verdicts{at: time.Now(), member: map[string]bool{}}, m.verdicts.Load()
	switch {
	case !m.inTouch():
	case last.inTouchSince.IsZero() || next.at.Sub(last.at) >= reviewTimeout:
		next.inTouchSince = next.at
	default:
		next.inTouchSince = last.inTouchSince
	}
	return next
}

// isSteady reports whether this node has been in contact with the leader for
// so long that its log tells who belongs to the site.
func (m *membership) isSteady() bool {
	v := m.verdicts.Load()
	return !v.inTouchSince.IsZero() && time.Since(v.inTouchSince) >= steadyAfter && time.Since(v.at) < reviewTimeout && m.inTouch()
}

// nodesToJudge returns the nodes that a review judges.
func (m *membership) nodesToJudge(opinions map[string]remoteView) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.own.Servers {
		ids = append(ids, id)
	}
	for id := range opinions {
		if _, ok := m.own.Servers[id]; !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// isMember reports whether a node belongs to the site, according to the last
// review.
func (m *membership) isMember(id string) bool {
	if member, ok := m.verdicts.Load().member[id]; ok {
		return member
	}
	return m.judge(id, m.link.peers.remoteViews()).isMember
}

// isExcluded reports whether an ID was removed from the site and does not
// belong to it.
func (m *membership) isExcluded(id string) bool {
	m.mu.Lock()
	excluded := m.removed.Nodes[id]
	m.mu.Unlock()
	return excluded && !m.isMember(id)
}

// isRefused reports whether no connection of any kind is allowed with that
// peer.
func (m *membership) isRefused(p peerIdentity) bool {
	m.mu.Lock()
	revoked := m.removed.Certificates[p.certificate]
	m.mu.Unlock()
	return revoked || m.isExcluded(p.node)
}

// admit returns nil if the peer may have a connection with that protocol, and
// otherwise the reason. If necessary it waits until the other nodes have told
// what they know.
func (m *membership) admit(ctx context.Context, p peerIdentity) error {
	m.mu.Lock()
	revoked := m.removed.Certificates[p.certificate]
	m.mu.Unlock()
	switch {
	case revoked:
		return errRevoked
	case p.protocol == raftProtocol && !m.awaitVerdict(ctx, p.node):
		return errNoMember
	case m.isExcluded(p.node):
		return errRemoved
	}
	return nil
}

// awaitVerdict reports whether a node is a member. It waits a little for
// nodes that have not been heard from yet.
func (m *membership) awaitVerdict(ctx context.Context, id string) bool {
	timeout := time.NewTimer(verdictTimeout)
	defer timeout.Stop()
	for {
		changed := m.changed.Changed()
		verdict := m.judge(id, m.link.peers.remoteViews())
		if !verdict.isOpen {
			return verdict.isMember
		}
		select {
		case <-changed:
		case <-timeout.C:
			return verdict.isMember
		case <-ctx.Done():
			return false
		}
	}
}

// mayRead reports whether data from a peer may be read. If the last review is
// too old it waits for a new one, because this process was paused and
// membership may have changed.
func (m *membership) mayRead(p peerIdentity) bool {
	if time.Since(m.verdicts.Load().at) < reviewTimeout {
		return true // a review closes the connections of those that are not members
	}
	m.awaitVerdict(context.Background(), p.node)
	m.review()
	return !m.isRefused(p) && (p.protocol != raftProtocol || m.isMember(p.node))
}

// mayDial returns nil if responses of the peer may be used.
func (m *membership) mayDial(p peerIdentity) error {
	switch {
	case m.isRefused(p):
		return errRemoved
	case p.protocol == raftProtocol && m.isDenied(p.node):
		return errNoMember
	}
	return nil
}

// isDenied reports whether a node certainly does not belong to the site.
func (m *membership) isDenied(id string) bool {
	m.mu.Lock()
	own := m.own
	m.mu.Unlock()
	if _, ok := own.Servers[id]; ok {
		return isDenied(id, own, m.link.peers.remoteViews())
	}
	return !m.isMember(id)
}
