package link

import (
	"context"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol/wait"
)

const (
	// claimTimeout limits how long a stream waits until its process is admitted.
	// It leaves time to hear from a process that sends each second.
	claimTimeout = 2500 * time.Millisecond
	// reconnectGrace delays the check that the first process is still heard
	// after a second one has appeared: what arrives earlier may have waited in a
	// buffer.
	reconnectGrace = 1 * time.Second
)

// processTable tracks which process runs as each of the other nodes. Whoever
// has a node's keys can start a second one, from a snapshot of its machine or
// a copy of its data. The process that is found first keeps the node until it
// is gone: all its streams have broken, or it is silent.
type processTable struct {
	clock clock

	mu     sync.Mutex
	byNode map[string]*process
}

// process is one start of a node. The processTable guards its fields.
type process struct {
	incarnation       uint64
	addr              string // of its cluster listener, as announced; empty if not
	checksIncarnation bool   // it sends its incarnation with each call
	streams           int    // open with it, in either direction
	heard             time.Time
	provedAt          int64 // on this node's clock; it has responded since
}

// isGone reports whether a process must give way to another one at addr. A
// process whose streams have broken may be about to reconnect, unless the
// other one listens in its place.
func (p *process) isGone(addr string) bool {
	silent := time.Since(p.heard)
	return silent >= silenceTimeout || p.streams == 0 && (silent >= reconnectGrace || addr != "" && addr == p.addr)
}

// claim counts a stream with a process of a node, until release. If another
// process has the node, claim waits for that process to be gone, and returns
// a *RejectedError if it is not.
func (ps *processTable) claim(ctx context.Context, node string, c process) (*process, error) {
	began, beganClock := time.Now(), ps.clock.now()
	for {
		claimed, runs := ps.tryClaim(node, c)
		r := &RejectedError{Node: node, Reason: clusterv1.Rejection_REASON_RUNNING, Incarnation: runs.incarnation, Addr: runs.addr, Certain: runs.provedAt > beganClock}
		switch {
		case claimed != nil:
			return claimed, nil
		case r.Certain || runs.heard.Sub(began) >= reconnectGrace:
			return nil, r
		case time.Since(began) >= claimTimeout:
			r.Reason = clusterv1.Rejection_REASON_UNDECIDED
			return nil, r
		case !wait.Sleep(ctx, 20*time.Millisecond):
			return nil, context.Cause(ctx)
		}
	}
}

// tryClaim returns nil and the running process if that is another one.
func (ps *processTable) tryClaim(node string, c process) (claimed *process, runs process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byNode[node]
	if p != nil && p.incarnation != c.incarnation && !p.isGone(c.addr) {
		return nil, *p
	}
	if p == nil || p.incarnation != c.incarnation {
		ps.makeRoomLocked()
		p = &process{incarnation: c.incarnation}
		ps.byNode[node] = p
	}
	p.streams++
	p.heard = time.Now()
	p.checksIncarnation = p.checksIncarnation || c.checksIncarnation
	if c.addr != "" {
		p.addr = c.addr
	}
	return p, *p
}

// makeRoomLocked prevents invented nodes from using memory.
func (ps *processTable) makeRoomLocked() {
	if ps.byNode == nil {
		ps.byNode = map[string]*process{}
	}
	if len(ps.byNode) < maxPeers {
		return
	}
	for node, p := range ps.byNode {
		if p.isGone("") {
			delete(ps.byNode, node)
		}
	}
}

// release undoes claim.
func (ps *processTable) release(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.streams--
}

// touch records that a process has just been heard, and that it was alive at
// provedAt on this node's clock; 0 if that time is not certain.
func (ps *processTable) touch(p *process, proved int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.heard = time.Now()
	p.provedAt = max(p.provedAt, proved)
}

// running returns the process that runs as a node, if there is one that is
// not gone.
func (ps *processTable) running(node string) (p process, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byNode[node]; p != nil && !p.isGone("") {
		return *p, true
	}
	return process{}, false
}

// isCurrent reports whether a call comes from the process admitted last as
// the node. incarnation is 0 if the call does not carry it.
func (ps *processTable) isCurrent(node string, incarnation uint64) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byNode[node]
	return p != nil && (p.incarnation == incarnation || incarnation == 0 && !p.checksIncarnation)
}

// AcceptsRaftFrom reports whether Raft calls of a node are to be answered.
// They come from the process with that incarnation (0: its version does not
// send it), which must be the one that this node has admitted, and the node
// must have admitted this process, unless it can't be asked.
func (l *Link) AcceptsRaftFrom(node string, incarnation uint64) bool {
	p := l.peers.get(node)
	return p != nil && l.processes.isCurrent(node, incarnation) && p.hasAdmitted()
}

// ChecksIncarnation reports whether a node's version accepts calls that carry
// this process's incarnation.
func (l *Link) ChecksIncarnation(node string) bool {
	p := l.peers.get(node)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checksIncarnation
}

// RunningProcess returns the process that runs as a node, as far as this node
// knows, and the address of its cluster listener; 0: none.
func (l *Link) RunningProcess(node string) (incarnation uint64, addr string) {
	p, _ := l.processes.running(node)
	return p.incarnation, p.addr
}

// processFromHello returns the process that sent h.
func processFromHello(h *clusterv1.Hello) process {
	return process{incarnation: h.Incarnation, addr: h.ClusterAddr, checksIncarnation: h.Lineage != nil}
}

// admitProcess admits the process at the other end of a stream as its node,
// or returns a *RejectedError.
func (l *Link) admitProcess(ctx context.Context, node string, c process, lineage *clusterv1.Lineage) (*process, error) {
	r := &RejectedError{Node: node, Reason: l.config.Check(node, c.incarnation, lineage, l.members.isSteady())}
	if r.Reason == clusterv1.Rejection_REASON_UNSPECIFIED {
		if p := l.peers.get(node); p != nil {
			p.reportsPending.Notify() // to hear at once from a process that runs
		}
		return l.processes.claim(ctx, node, c)
	}
	if runs, ok := l.processes.running(node); ok && r.Reason == clusterv1.Rejection_REASON_OLD_COPY {
		r.Reason, r.Incarnation, r.Addr = clusterv1.Rejection_REASON_RUNNING, runs.incarnation, runs.addr
	}
	return nil, r
}
