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
	"simpd/protocol/wait"
)

// peer is another node as this one reaches it: a stream of messages that is
// kept open while the node is known, and a separate connection for calls, so
// that bulk data can't delay messages.
type peer struct {
	link           *Link
	id             string
	out            envelopeQueue
	loginReports   loginReports
	usageReports   usageReports
	sendPending    wait.Signal // envelopes are queued
	reportsPending wait.Signal // login reports are queued
	usagePending   wait.Signal // usage reports are queued
	retryNow       wait.Signal // it may be reachable now: its address has changed, or it has connected
	cancel         context.CancelFunc

	mu                sync.Mutex
	gossiped          *Member       // nil if gossip does not know it
	configuredAddr    string        // its address in Raft's configuration
	announced         announcedAddr // its address by its own announcement
	avoidedAddr       string        // where it was not found; tried last
	provedAddr        string        // where it was reached last
	connectivity      Connectivity
	configuration     *clusterv1.Configuration // the configuration that it knows; nil if it has not told
	checksIncarnation bool                     // its version accepts calls that carry this process's incarnation
	admission         admission
	lastHeard         time.Time
	callConn          *grpc.ClientConn // made when first needed
	isShutDown        bool             // no more calls are made
}

func newPeer(l *Link, id string) *peer {
	now := time.Now()
	return &peer{
		link: l, id: id, lastHeard: now, connectivity: Connectivity{Since: now},
		sendPending: wait.NewSignal(), reportsPending: wait.NewSignal(), usagePending: wait.NewSignal(), retryNow: wait.NewSignal(),
	}
}

// runStreams keeps a stream to the node until ctx ends.
func (p *peer) runStreams(ctx context.Context) {
	defer p.shutdown()
	for failed := 0; ; failed++ {
		began := time.Now()
		established, err := p.runStream(ctx)
		p.out.failPending()
		p.usageReports.stop()
		if ctx.Err() != nil {
			p.out.close("this node closes")
			return
		}
		if established {
			p.link.logger.Info("the stream to a node broke", "part", "link", "node", p.id, "error", err)
			failed = 0
		} else {
			p.markSuspect(err)
		}
		// Once at once: a connection can break without the node being gone.
		if !established || time.Since(began) < time.Second {
			p.backoff(ctx, failed)
		}
	}
}

// setChecksIncarnation records whether the node's version accepts calls that
// carry a process's incarnation.
func (p *peer) setChecksIncarnation(checks bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checksIncarnation = checks
}

// admission is whether another node has admitted this process.
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
	p.admission = a
}

// hasAdmitted reports whether the node has admitted this process, or can't be
// asked.
func (p *peer) hasAdmitted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admission == admitted || p.admission == notAsked && p.link.clock.now() > silenceTimeout.Microseconds()
}

// backoff waits before another attempt, longer with each, at most a second.
// It returns earlier if there is a reason to think that the node is back, or
// if something is queued: a sender must not be told that the node is down if
// it has just come back.
func (p *peer) backoff(ctx context.Context, failed int) {
	least, most := 10*time.Millisecond, min(50*time.Millisecond<<min(failed, 10), time.Second)
	if !wait.Sleep(ctx, least) {
		return
	}
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.retryNow:
	case <-p.sendPending:
	case <-t.C:
	}
}

// markSuspect records that the node could not be reached, and ends what is
// queued for it. New envelopes end at once while it is silent; if it refuses
// connections, after another attempt, which takes no time.
func (p *peer) markSuspect(err error) {
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
	before := p.connectivity.Suspicion
	if before != how {
		p.connectivity = Connectivity{Suspicion: how, Since: p.lastHeard}
		if how == Closed {
			p.connectivity.Since = time.Now()
		}
	}
	p.mu.Unlock()
	if before != how {
		p.link.members.requestReview()
		p.closeCalls()
		p.link.logger.Warn("a node is not reached", "node", p.id, "suspicion", how, "error", err)
		p.link.events.enqueue(func(m Membership) { m.MemberSuspect(p.id, how) })
	}
}

// avoidAddr records an address where the node's process was not found, or
// where it does not admit this process.
func (p *peer) avoidAddr(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.avoidedAddr = addr
}

// onConnected records that the node's process has responded on a new stream
// at addr.
func (p *peer) onConnected(addr string) {
	p.mu.Lock()
	before := p.connectivity.Suspicion
	p.connectivity, p.admission = Connectivity{Since: time.Now(), Connected: true}, admitted
	p.provedAddr, p.avoidedAddr = addr, ""
	m := p.memberLocked()
	failing := p.callConn != nil && p.callConn.GetState() == connectivity.TransientFailure
	p.mu.Unlock()
	if failing {
		p.closeCalls() // rather than wait for its next attempt
	}
	p.link.mux.open.closeWhere(func(c *peerConn) bool { return c.node == p.id && c.dialed != "" && c.dialed != addr }) // another process may be there
	p.out.open()
	p.link.rejections.reset()
	p.link.members.requestReview()
	if before != NotSuspected {
		p.link.logger.Info("a node is reached again", "part", "link", "node", p.id)
		p.link.events.enqueue(func(to Membership) { to.MemberUp(m) })
	}
}

// onDisconnected records that the stream has ended. The next attempt shows
// whether the node is still there.
func (p *peer) onDisconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connectivity.Connected = false
	p.connectivity.Since = time.Now()
}

// setRemoteConfiguration records which configuration the node knows.
func (p *peer) setRemoteConfiguration(c *clusterv1.Configuration) {
	p.mu.Lock()
	changed := p.configuration.GetIndex() != c.GetIndex()
	p.configuration = c
	p.mu.Unlock()
	if changed {
		p.link.members.requestReview()
	}
}

func (p *peer) touch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastHeard = time.Now()
}

// memberLocked returns what is known of the node.
func (p *peer) memberLocked() Member {
	m := Member{ID: p.id, ClusterAddr: p.configuredAddr}
	if p.gossiped != nil {
		m = *p.gossiped
	}
	if p.announced.addr != "" {
		m.ClusterAddr = p.announced.addr
	}
	return m
}

// addr returns the node's address: as it announced on its stream, as gossip
// has it, or as Raft's configuration has it.
func (p *peer) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memberLocked().ClusterAddr
}

// addrs returns the addresses where the node may be, the most likely first.
// Some may be wrong. While a stream is open there is only one.
func (p *peer) addrs() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.connectivity.Connected {
		return []string{p.provedAddr}
	}
	for _, addr := range []string{p.memberLocked().ClusterAddr, p.provedAddr, p.configuredAddr} {
		if addr != "" && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	if i := slices.Index(all, p.avoidedAddr); i >= 0 {
		all = append(slices.Delete(all, i, i+1), p.avoidedAddr)
	}
	return all
}

// updateAddr calls change, and retries at once if it has changed the node's
// address.
func (p *peer) updateAddr(change func()) {
	before := p.addr()
	p.mu.Lock()
	change()
	p.mu.Unlock()
	if p.addr() != before {
		p.retryNow.Notify()
	}
}

// onInbound records that the node has connected to this one.
func (p *peer) onInbound() {
	p.mu.Lock()
	suspected := p.connectivity.Suspicion != NotSuspected
	p.mu.Unlock()
	if suspected {
		p.retryNow.Notify()
	}
}

func (p *peer) enqueue(parcel envelope) {
	if why := p.out.enqueue(parcel); why != "" {
		parcel.done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: why})
		return
	}
	p.sendPending.Notify()
}
