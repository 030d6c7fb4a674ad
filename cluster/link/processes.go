package link

import (
	"context"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

const (
	// claimTimeout bounds how long a stream waits for its process to be let in.
	// It leaves time to hear from a process that sends each second.
	claimTimeout = 2500 * time.Millisecond
	// freshAfter delays the check that the first process is heard again after a
	// second one has asked: what comes earlier may have waited in a buffer.
	freshAfter = 1 * time.Second
)

// processes knows which process runs as each of the other nodes. Whoever has a
// node's keys can start a second one: a snapshot of its machine, or a copy of
// its data. The one that is found first keeps the node until it is gone: all
// its streams have broken, or it is silent.
type processes struct {
	clock clock

	mu     sync.Mutex
	byNode map[string]*process
}

// process is one start of a node. Its fields are guarded by the processes that
// it is part of.
type process struct {
	boot    uint64
	addr    string // of its cluster listener, by its own word; empty: not said
	checks  bool   // it tells boot with each call
	streams int    // that are open with it, either way
	heard   time.Time
	proved  int64 // on this node's clock: it was alive then, for it has answered since
}

// isGone reports whether a process has made room for another one at addr. One
// whose streams have broken may be about to reconnect, unless the other listens
// in its place.
func (p *process) isGone(addr string) bool {
	silent := time.Since(p.heard)
	return silent >= silenceTimeout || p.streams == 0 && (silent >= freshAfter || addr != "" && addr == p.addr)
}

// claim counts a stream with a process of a node, until its release. If another
// process has the node, claim waits for that one to be gone, and returns a
// *RejectedError if it is not.
func (ps *processes) claim(ctx context.Context, node string, c process) (*process, error) {
	began, beganClock := time.Now(), ps.clock.now()
	for {
		claimed, runs := ps.tryClaim(node, c)
		r := &RejectedError{Node: node, Reason: clusterv1.Rejection_REASON_RUNNING, Boot: runs.boot, Addr: runs.addr, Certain: runs.proved > beganClock}
		switch {
		case claimed != nil:
			return claimed, nil
		case r.Certain || runs.heard.Sub(began) >= freshAfter:
			return nil, r
		case time.Since(began) >= claimTimeout:
			r.Reason = clusterv1.Rejection_REASON_UNDECIDED
			return nil, r
		case !wait(ctx, 20*time.Millisecond):
			return nil, context.Cause(ctx)
		}
	}
}

// tryClaim returns nil, and the process that runs, if it is another one.
func (ps *processes) tryClaim(node string, c process) (claimed *process, runs process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byNode[node]
	if p != nil && p.boot != c.boot && !p.isGone(c.addr) {
		return nil, *p
	}
	if p == nil || p.boot != c.boot {
		ps.makeRoomLocked()
		p = &process{boot: c.boot}
		ps.byNode[node] = p
	}
	p.streams++
	p.heard = time.Now()
	p.checks = p.checks || c.checks
	if c.addr != "" {
		p.addr = c.addr
	}
	return p, *p
}

// makeRoomLocked keeps nodes that are invented from taking memory.
func (ps *processes) makeRoomLocked() {
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

// release ends what claim has begun.
func (ps *processes) release(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.streams--
}

// hear notes that a process has just been heard, and that it was alive at a time
// on this node's clock; 0: not certain when.
func (ps *processes) hear(p *process, proved int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.heard = time.Now()
	p.proved = max(p.proved, proved)
}

// running returns the process that runs as a node, if one does that is not gone.
func (ps *processes) running(node string) (p process, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byNode[node]; p != nil && !p.isGone("") {
		return *p, true
	}
	return process{}, false
}

// isCurrent reports whether a call comes from the process that was let in as the
// node last; boot 0: the call does not say.
func (ps *processes) isCurrent(node string, boot uint64) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byNode[node]
	return p != nil && (p.boot == boot || boot == 0 && !p.checks)
}

// MayTakePart reports whether calls of Raft from a node are to be answered. They
// come from the process of that number (0: its version does not say), which has
// to be the one that this node has let in; and the node has to have let this
// process in, unless it can't be asked.
func (l *Link) MayTakePart(node string, boot uint64) bool {
	p := l.peers.find(node)
	return p != nil && l.processes.isCurrent(node, boot) && p.hasAdmitted()
}

// TakesBoot reports whether a node's version understands calls that bear the
// number of this process.
func (l *Link) TakesBoot(node string) bool {
	p := l.peers.find(node)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checks
}

// processOf is the process that says hello.
func processOf(h *clusterv1.Hello) process {
	return process{boot: h.Boot, addr: h.ClusterAddr, checks: h.Lineage != nil}
}

// admitProcess lets a process with which a stream is open in as its node, or
// returns a *RejectedError.
func (l *Link) admitProcess(ctx context.Context, node string, c process, lineage *clusterv1.Lineage) (*process, error) {
	r := &RejectedError{Node: node, Reason: l.config.Check(node, c.boot, lineage, l.members.isSteady())}
	if r.Reason == clusterv1.Rejection_REASON_UNSPECIFIED {
		if p := l.peers.find(node); p != nil {
			poke(p.failed) // to hear at once from a process that runs
		}
		return l.processes.claim(ctx, node, c)
	}
	if runs, ok := l.processes.running(node); ok && r.Reason == clusterv1.Rejection_REASON_OLD_COPY {
		r.Reason, r.Boot, r.Addr = clusterv1.Rejection_REASON_RUNNING, runs.boot, runs.addr
	}
	return nil, r
}
