package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

// peer is another node, as this one reaches it: a stream of messages that is
// held open while the node is known, and a connection of its own for calls,
// so that bulk can't delay them.
type peer struct {
	link     *Link
	id       string
	out      outbox
	failures failures
	wake     chan struct{} // something is to be sent
	failed   chan struct{} // failures are to be told
	again    chan struct{} // it may be reached now: its address is another, or it has called
	cancel   context.CancelFunc

	mu       sync.Mutex
	gossiped *Member // nil: gossip does not know it
	known    string  // its address in Raft's configuration
	said     place   // where it is by its own word
	avoided  string  // where it was not found, and is looked for last
	proved   string  // where it was reached last
	contact  Contact
	told     *clusterv1.Configuration // the configuration that it knows; nil: it has not said
	checks   bool                     // calls to it bear this process's number: its version takes it
	admits   admission
	heard    time.Time
	calls    *grpc.ClientConn // made when first needed
	ended    bool             // no call is made any more
}

func newPeer(l *Link, id string) *peer {
	now := time.Now()
	return &peer{
		link: l, id: id, heard: now, contact: Contact{Since: now},
		wake: make(chan struct{}, 1), failed: make(chan struct{}, 1), again: make(chan struct{}, 1),
	}
}

// run holds the stream until ctx ends.
func (p *peer) run(ctx context.Context) {
	defer p.end()
	for failed := 0; ; failed++ {
		began := time.Now()
		established, err := p.converse(ctx)
		p.out.broken()
		if ctx.Err() != nil {
			p.out.close("this node closes")
			return
		}
		if established {
			p.link.logger.Info("the stream to a node broke", "part", "link", "node", p.id, "error", err)
			failed = 0
		} else {
			p.suspect(err)
		}
		// Once at once: a connection can break without the node being gone.
		if !established || time.Since(began) < time.Second {
			p.pause(ctx, failed)
		}
	}
}

// takesBoot notes whether the node's version understands calls that bear a
// process's number.
func (p *peer) takesBoot(checks bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = checks
}

// admission is whether another node has let this process in.
type admission uint8

const (
	notAsked admission = iota
	admitted
	rejected
)

// setAdmission notes whether the node has let this process in.
func (p *peer) setAdmission(a admission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.admits = a
}

// hasAdmitted reports whether the node has let this process in, or can't be
// asked.
func (p *peer) hasAdmitted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admits == admitted || p.admits == notAsked && p.link.clock.now() > silenceTimeout.Microseconds()
}

// pause waits before another attempt, longer with each, at most a second, and
// less if there is a reason to think that the node is back, or if something
// is to be sent: whoever sends shall not be told of a node that is gone when
// it has come back meanwhile.
func (p *peer) pause(ctx context.Context, failed int) {
	least, most := 10*time.Millisecond, min(50*time.Millisecond<<min(failed, 10), time.Second)
	if !wait(ctx, least) {
		return
	}
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.again:
	case <-p.wake:
	case <-t.C:
	}
}

// suspect notes that the node could not be reached. What waits for it is
// answered. What comes from now on is answered at once while it is silent; if
// it refuses connections, after another attempt, which takes no time.
func (p *peer) suspect(err error) {
	how, r := Silent, (*RejectedError)(nil)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		how = Closed
	case errors.As(err, &r):
		how = Rejecting
		if r.By != "" {
			p.setAdmission(rejected)
		}
		p.link.onRejected(r)
	}
	p.out.close(fmt.Sprintf("node %s %s", p.id, how))
	if how != Silent {
		p.out.open()
	}
	if r.isUndecided() {
		return
	}
	p.mu.Lock()
	before := p.contact.Suspicion
	if before != how {
		p.contact = Contact{Suspicion: how, Since: p.heard}
		if how == Closed {
			p.contact.Since = time.Now()
		}
	}
	p.mu.Unlock()
	if before != how {
		p.link.members.notify()
		p.dropCalls()
		p.link.logger.Warn("a node is not reached", "node", p.id, "suspicion", how, "error", err)
		p.link.herald.tell(func(m Membership) { m.MemberSuspect(p.id, how) })
	}
}

// avoid notes an address at which there is not the process that runs as the
// node, or one that does not let this process in.
func (p *peer) avoid(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.avoided = addr
}

// reached notes that the node's process has answered on a new stream at addr.
func (p *peer) reached(addr string) {
	p.mu.Lock()
	before := p.contact.Suspicion
	p.contact, p.admits = Contact{Since: time.Now(), Connected: true}, admitted
	p.proved, p.avoided = addr, ""
	m := p.member()
	failing := p.calls != nil && p.calls.GetState() == connectivity.TransientFailure
	p.mu.Unlock()
	if failing {
		p.dropCalls() // rather than wait for its next attempt
	}
	p.link.mux.open.closeWhere(func(c *peerConn) bool { return c.node == p.id && c.dialed != "" && c.dialed != addr }) // another process may be there
	p.out.open()
	p.link.rejections.reset()
	p.link.members.notify()
	if before != NotSuspected {
		p.link.logger.Info("a node is reached again", "part", "link", "node", p.id)
		p.link.herald.tell(func(to Membership) { to.MemberUp(m) })
	}
}

// lost notes that the stream is no more; whether the node is, the next
// attempt will show.
func (p *peer) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contact.Connected = false
	p.contact.Since = time.Now()
}

// tell notes which configuration the node knows.
func (p *peer) tell(c *clusterv1.Configuration) {
	p.mu.Lock()
	changed := p.told.GetIndex() != c.GetIndex()
	p.told = c
	p.mu.Unlock()
	if changed {
		p.link.members.notify()
	}
}

func (p *peer) alive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
}

// member is what is known of the node; p.mu is held.
func (p *peer) member() Member {
	m := Member{ID: p.id, ClusterAddr: p.known}
	if p.gossiped != nil {
		m = *p.gossiped
	}
	if p.said.addr != "" {
		m.ClusterAddr = p.said.addr
	}
	return m
}

// addr is where the node is: as it said itself on its stream, as gossip has
// it, or as Raft's configuration does.
func (p *peer) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.member().ClusterAddr
}

// addrs are the addresses at which the node may be, the likeliest first: one of
// them may be somebody else's word. While a stream is open there is only one.
func (p *peer) addrs() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.contact.Connected {
		return []string{p.proved}
	}
	for _, addr := range []string{p.member().ClusterAddr, p.proved, p.known} {
		if addr != "" && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	if i := slices.Index(all, p.avoided); i >= 0 {
		all = append(slices.Delete(all, i, i+1), p.avoided)
	}
	return all
}

// update changes what is known of the node; a new address is tried at once.
func (p *peer) update(change func()) {
	before := p.addr()
	p.mu.Lock()
	change()
	p.mu.Unlock()
	if p.addr() != before {
		poke(p.again)
	}
}

// called notes that the node has connected to this one.
func (p *peer) called() {
	p.mu.Lock()
	suspected := p.contact.Suspicion != NotSuspected
	p.mu.Unlock()
	if suspected {
		poke(p.again)
	}
}

func (p *peer) deliver(parcel parcel) {
	if why := p.out.put(parcel); why != "" {
		parcel.done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: why})
		return
	}
	poke(p.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
