package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/peerrpc"
	"simpd/protocol/wait"
)

// leadership knows who leads the site, since which term, and, while this node
// leads, whether its table contains all that was acknowledged before. Nothing
// else asks Raft who leads. Any goroutine may call its methods.
type leadership struct {
	nodeID  string
	raft    atomic.Pointer[raft.Raft]  // nil until Raft has read its log
	current atomic.Pointer[leaderTerm] // while this node leads
	// establish begins a term in which this node leads, and revoke ends it.
	establish func(ctx context.Context, term uint64) *leaderTerm
	revoke    func(*leaderTerm)
	// onChange is called when another node leads, or none.
	onChange func()

	changed  wait.Broadcast // another node leads, or none, or this one has begun or ended
	notify   chan bool      // by Raft: leadership won and lost
	notified wait.Signal    // the same, for monitor
	drained  sync.WaitGroup
	waits    sync.WaitGroup // the goroutines of whileLeads
	checks   leadershipChecks
}

// leaderTerm is one term in which this node leads.
type leaderTerm struct {
	term uint64
	// ready is closed when this node's table contains everything that was ever
	// acknowledged before the term.
	ready  chan struct{}
	pauses *pauseDetector
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// prepare begins to drain the channel of Raft, which would block if it were
// full.
func (l *leadership) prepare(nodeID string) {
	l.nodeID, l.notify, l.notified = nodeID, make(chan bool, 10), wait.NewSignal()
	l.drained.Go(func() {
		for range l.notify {
			l.notified.Notify()
		}
	})
}

// leaderAndTerm returns the leader and the term; "" if no leader is known.
// The two may be of different moments, because a proposal for the wrong term
// does nothing.
func (l *leadership) leaderAndTerm() (leader string, term uint64) {
	r := l.raft.Load()
	term = r.CurrentTerm()
	_, id := r.LeaderWithID()
	return string(id), term
}

// leader returns the node that leads, as far as this one knows; "" if there
// is none.
func (l *leadership) leader() string {
	leader, _ := l.leaderAndTerm()
	return leader
}

// isEstablished reports whether this node has established its leadership, and not
// revoked it yet.
func (l *leadership) isEstablished() bool { return l.current.Load() != nil }

// isElected reports whether Raft considers this node the leader, which precedes
// isEstablished by a moment.
func (l *leadership) isElected() bool {
	r := l.raft.Load()
	return r != nil && r.State() == raft.Leader
}

// notLeader is the error for those who have taken this node for the leader.
func (l *leadership) notLeader() error { return &peerrpc.NotLeaderError{Leader: l.leader()} }

// await returns nil if this node leads. A node that Raft has just made leader
// receives calls at once and establishes its leadership a moment later, so it
// waits for that.
func (l *leadership) await(ctx context.Context) error {
	for {
		changed := l.changed.Changed()
		switch {
		case l.isEstablished():
			return nil
		case l.leader() != l.nodeID:
			return l.notLeader()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return l.notLeader()
		}
	}
}

// awaitReady returns the term in which this node leads, once its table
// contains all that was acknowledged before.
func (l *leadership) awaitReady(ctx context.Context) (*leaderTerm, error) {
	t := l.current.Load()
	if t == nil {
		return nil, l.notLeader()
	}
	select {
	case <-t.ready:
		return t, nil
	case <-ctx.Done():
		return nil, unavailable("the new leader is not ready: %w", ctx.Err())
	}
}

// isCurrent reports whether this node still leads in that term.
func (l *leadership) isCurrent(t *leaderTerm) bool {
	return l.current.Load() == t && l.raft.Load().CurrentTerm() == t.term
}

// awaitOther returns the leader once a node other than old leads.
func (l *leadership) awaitOther(ctx context.Context, old string) (string, error) {
	for {
		changed := l.changed.Changed()
		if leader := l.leader(); leader != "" && leader != old {
			return leader, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", unavailable("waiting for a leader: %w", ctx.Err())
		}
	}
}

// whileLeads returns a context that ends when another node leads, or none.
func (l *leadership) whileLeads(ctx context.Context, leader string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	changed := l.changed.Changed()
	if l.leader() != leader {
		cancel()
	}
	l.waits.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// inTouch reports whether this node leads, or has heard from a leader within
// that time.
func (l *leadership) inTouch(within time.Duration) bool {
	r := l.raft.Load()
	return r != nil && (r.State() == raft.Leader || time.Since(r.LastContact()) < within)
}

// verify makes a majority confirm that this node leads.
func (l *leadership) verify(ctx context.Context) error {
	verdict := make(chan error, 1)
	if !l.checks.run(func() { verdict <- l.raft.Load().VerifyLeader().Error() }) {
		return unavailable("this node closes")
	}
	select {
	case err := <-verdict:
		if err != nil {
			return unavailable("verifying that this node leads: %w", err)
		}
		return nil
	case <-ctx.Done():
		return unavailable("verifying that this node leads: %w", ctx.Err())
	}
}

// stop ends what waits for Raft, before Raft is shut down.
func (l *leadership) stop() {
	l.waits.Wait()
	l.checks.close()
}

// close is called when Raft notifies no more.
func (l *leadership) close() {
	close(l.notify)
	l.drained.Wait()
}
