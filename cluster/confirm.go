package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// confirms shares look-ups of the leader's index: one is under way at a time,
// and who comes meanwhile waits for the next.
type confirms struct {
	mu      sync.Mutex
	next    *round
	running bool
	wg      sync.WaitGroup
}

// round is one question to the leader.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// Confirm returns nil once this node's table holds every change that any node
// had acknowledged when Confirm was called. The error is ErrUnavailable.
func (n *Node) Confirm(ctx context.Context) error {
	r := n.joinRound()
	select {
	case <-r.done:
	case <-ctx.Done():
		return unavailable("asking the leader: %w", context.Cause(ctx))
	}
	if r.err != nil {
		return r.err
	}
	if err := n.table.Wait(ctx, r.index); err != nil {
		return unavailable("catching up with the leader: %w", err)
	}
	return nil
}

// joinRound returns a round that has not begun yet.
func (n *Node) joinRound() *round {
	c := &n.confirms
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = &round{done: make(chan struct{})}
	}
	r := c.next
	if !c.running {
		c.running = true
		c.wg.Go(n.confirmAll)
	}
	return r
}

// confirmAll asks round by round, until nobody waits.
func (n *Node) confirmAll() {
	c := &n.confirms
	for {
		c.mu.Lock()
		r := c.next
		c.next = nil
		c.running = r != nil
		c.mu.Unlock()
		if r == nil {
			return
		}
		r.index, r.err = n.confirmRound()
		close(r.done)
	}
}

// confirmRound asks the leader, whoever that is, for as long as there is hope.
func (n *Node) confirmRound() (uint64, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.pace.lost)
	defer cancel()
	for {
		index, err := n.askLeader(ctx)
		if err == nil {
			return index, nil
		}
		if ctx.Err() != nil || n.lost() {
			return 0, unavailable("no leader confirmed: %w", err)
		}
		pause(ctx, retryAfter)
	}
}

var errNoLeader = errors.New("no leader is known")

func (n *Node) askLeader(ctx context.Context) (uint64, error) {
	leader := n.Leader()
	switch leader {
	case "":
		return 0, errNoLeader
	case n.cfg.NodeID:
		return n.readIndex(ctx)
	}
	ctx, cancel := n.whileLeads(ctx, leader)
	defer cancel()
	return n.link.ReadIndex(ctx, leader)
}

// readIndex is the leader's answer: an index that no acknowledged change is
// beyond. A change may be acknowledged by another node before this one's
// table holds it, so the table has to catch up with what is committed first.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	r := n.reign.Load()
	if r == nil {
		return 0, n.notLeader()
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
		return 0, unavailable("the new leader is not ready: %w", ctx.Err())
	}
	// In this term every entry after the fence reaches the table, so that
	// Raft's index of the newest can be waited for.
	if err := n.fsm.log.wait(ctx, n.raft.CommitIndex()); err != nil {
		return 0, unavailable("applying what is committed: %w", err)
	}
	transfers, index := n.transfers.count(), n.table.Index()
	if err := n.verify(ctx); err != nil {
		return 0, err
	}
	// During a transfer another leader may begin while this one is still
	// believed in.
	if n.transfers.since(transfers) || n.reign.Load() != r || n.raft.CurrentTerm() != r.term {
		return 0, n.notLeader()
	}
	if !r.pauses.awake(time.Now()) {
		return 0, unavailable("this node, which leads, has just stood still")
	}
	return index, nil
}

// verify has a majority confirm that this node leads.
func (n *Node) verify(ctx context.Context) error {
	verdict := make(chan error, 1)
	if !n.verifying.run(func() { verdict <- n.raft.VerifyLeader().Error() }) {
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

// verifying are the questions that Raft has not answered yet. It answers each
// within the leader's lease while it runs, and none once it is shut down.
type verifying struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// run runs ask in a goroutine of its own, unless closed.
func (v *verifying) run(ask func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.wg.Go(ask)
	}
	return !v.closed
}

// close lets nothing be asked any more, and waits for the answers.
func (v *verifying) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.wg.Wait()
}
