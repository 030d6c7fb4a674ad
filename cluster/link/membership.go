package link

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Configuration is Raft's configuration as one node knows it.
type Configuration struct {
	Index   uint64            // Raft's, up to which its log was applied then; 0: it is agreed on, and in no log yet
	Servers map[string]string // cluster addresses by id; none: the node is of no site yet
	Voters  map[string]bool   // those of Servers that vote
}

// Removed lists what is kept out of the site.
type Removed struct {
	Nodes        map[string]bool          // ids, unless they are in the configuration
	Certificates map[pki.Fingerprint]bool // for good
}

const (
	// reviewInterval is how often the members are judged anew although nothing
	// was heard, and reviewTimeout after how long without it a connection waits
	// for it: this process was paused.
	reviewInterval = 500 * time.Millisecond
	reviewTimeout  = 3 * time.Second
	// steadyAfter is for how long this node has to be in touch with the leader
	// until its log counts as up to date: time enough to hear the others.
	steadyAfter = 3 * time.Second
	// opinionTimeout is how long who connects by Raft waits until the other
	// nodes have told this one who is of the site.
	opinionTimeout = 500 * time.Millisecond
)

// membership decides which nodes are of the site now. Whoever has the log up to
// date reads it there. A node that was away may not know yet of a node that
// was removed, or of one that leads now: so each node tells the others which
// configuration it knows, and who is behind believes the majority of those
// that it knows and that are ahead.
type membership struct {
	link    *Link
	touched func() bool // whether the leader has been heard of just now

	mu      sync.Mutex
	known   bool // Know was called: before, nobody is admitted
	own     Configuration
	removed Removed
	changed chan struct{} // closed when something that decides has changed

	told     atomic.Pointer[clusterv1.Configuration] // what others are told of own
	verdicts atomic.Pointer[verdicts]
	wake     chan struct{}
}

// verdicts holds who is a member, as it was judged at one moment.
type verdicts struct {
	at      time.Time
	touched time.Time // since when this node is in touch; zero: it is not
	member  map[string]bool
}

func newMembership(l *Link) *membership {
	m := &membership{link: l, touched: l.config.InTouch, changed: make(chan struct{}), wake: make(chan struct{}, 1)}
	m.verdicts.Store(&verdicts{at: time.Now()})
	return m
}

// know takes this node's own newest configuration.
func (m *membership) know(c Configuration) {
	m.mu.Lock()
	m.known, m.own = true, c
	m.mu.Unlock()
	if c.Index > 0 && len(c.Servers) > 0 {
		told := &clusterv1.Configuration{Index: c.Index}
		for id := range c.Servers {
			told.Server = append(told.Server, id)
		}
		m.told.Store(told)
	}
	m.review()
	m.notify()
}

func (m *membership) setRemoved(r Removed) {
	m.mu.Lock()
	m.removed = r
	m.mu.Unlock()
	m.review()
	m.notify()
}

// notify has the members judged anew, by who waits and by run.
func (m *membership) notify() {
	m.mu.Lock()
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	poke(m.wake)
}

// run judges the members whenever something has changed, and now and then.
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

// review judges all nodes that there is a reason to, and ends the connections
// of those that are members no more.
func (m *membership) review() {
	next := m.begin()
	opinions := m.link.peers.opinions()
	for _, id := range m.subjects(opinions) {
		next.member[id] = m.judge(id, opinions).member
	}
	before := m.verdicts.Swap(next)
	for id, was := range before.member {
		if was && !next.member[id] {
			m.link.mux.open.closeOf(id)
		}
	}
	m.link.slots.forget(m.isMember)
	m.link.gossipSlots.forget(m.isMember)
	m.link.mux.open.closeWhere(func(c *peerConn) bool {
		return m.isRefused(c.peerIdentity) || c.protocol == raftProtocol && c.admitted.Load() && !m.isMember(c.node)
	})
}

// begin begins a review with whether this node has stayed in touch since the
// last one.
func (m *membership) begin() *verdicts {
	next, last := &verdicts{at: time.Now(), member: map[string]bool{}}, m.verdicts.Load()
	switch {
	case !m.touched():
	case last.touched.IsZero() || next.at.Sub(last.at) >= reviewTimeout:
		next.touched = next.at
	default:
		next.touched = last.touched
	}
	return next
}

// isSteady reports whether this node has been in touch with the leader for so
// long that its log tells who is of the site.
func (m *membership) isSteady() bool {
	v := m.verdicts.Load()
	return !v.touched.IsZero() && time.Since(v.touched) >= steadyAfter && time.Since(v.at) < reviewTimeout && m.touched()
}

// subjects are the nodes that are judged at a review.
func (m *membership) subjects(opinions map[string]opinion) (ids []string) {
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

// isMember reports whether a node is of the site, as it was judged last.
func (m *membership) isMember(id string) bool {
	if member, ok := m.verdicts.Load().member[id]; ok {
		return member
	}
	return m.judge(id, m.link.peers.opinions()).member
}

// isExcluded reports whether an id was removed from the site and is not of it.
func (m *membership) isExcluded(id string) bool {
	m.mu.Lock()
	excluded := m.removed.Nodes[id]
	m.mu.Unlock()
	return excluded && !m.isMember(id)
}

// isRefused reports whether no connection of any kind is held with that peer.
func (m *membership) isRefused(p peerIdentity) bool {
	m.mu.Lock()
	revoked := m.removed.Certificates[p.certificate]
	m.mu.Unlock()
	return revoked || m.isExcluded(p.node)
}

// admit returns nil for a peer that may have a connection of that protocol, if
// need be once the other nodes have said what they know, and why not otherwise.
func (m *membership) admit(ctx context.Context, p peerIdentity) error {
	m.mu.Lock()
	revoked := m.removed.Certificates[p.certificate]
	m.mu.Unlock()
	switch {
	case revoked:
		return errRevoked
	case p.protocol == raftProtocol && !m.settle(ctx, p.node):
		return errNoMember
	case m.isExcluded(p.node):
		return errRemoved
	}
	return nil
}

// settle reports whether a node is a member, and waits a little for other
// nodes that this one has not heard of yet.
func (m *membership) settle(ctx context.Context, id string) bool {
	timeout := time.NewTimer(opinionTimeout)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		verdict := m.judge(id, m.link.peers.opinions())
		if !verdict.open {
			return verdict.member
		}
		select {
		case <-changed:
		case <-timeout.C:
			return verdict.member
		case <-ctx.Done():
			return false
		}
	}
}

// mayRead reports whether what came from a peer may be read. It waits for a
// review if the last one is too long ago: then this process was paused, and
// the site may be another.
func (m *membership) mayRead(p peerIdentity) bool {
	if time.Since(m.verdicts.Load().at) < reviewTimeout {
		return true // a review closes the connections of those that are not members
	}
	m.settle(context.Background(), p.node)
	m.review()
	return !m.isRefused(p) && (p.protocol != raftProtocol || m.isMember(p.node))
}

// mayDial returns nil unless what a peer answers is not to be listened to.
func (m *membership) mayDial(p peerIdentity) error {
	switch {
	case m.isRefused(p):
		return errRemoved
	case p.protocol == raftProtocol && m.isDenied(p.node):
		return errNoMember
	}
	return nil
}

// isDenied reports whether a node is certainly not of the site.
func (m *membership) isDenied(id string) bool {
	m.mu.Lock()
	own := m.own
	m.mu.Unlock()
	if _, ok := own.Servers[id]; ok {
		return isDenied(id, own, m.link.peers.opinions())
	}
	return !m.isMember(id)
}
