package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"simpd/protocol/wait"
)

// readIndexer shares requests for the leader's read index: one is in progress
// at a time, and callers that arrive meanwhile share the next.
type readIndexer struct {
	mu      sync.Mutex
	next    *readRound
	running bool
	wg      sync.WaitGroup
}

// readRound is one request to the leader.
type readRound struct {
	done  chan struct{}
	index uint64
	err   error
}

// ReadBarrier returns nil once this node's table contains every change that
// any node had acknowledged when ReadBarrier was called. The error is
// ErrUnavailable.
func (n *Node) ReadBarrier(ctx context.Context) error {
	r := n.joinReadRound()
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

// joinReadRound returns a round that has not started.
func (n *Node) joinReadRound() *readRound {
	c := &n.readIndexer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = &readRound{done: make(chan struct{})}
	}
	r := c.next
	if !c.running {
		c.running = true
		c.wg.Go(n.runReadRounds)
	}
	return r
}

// runReadRounds runs rounds until nobody waits.
func (n *Node) runReadRounds() {
	c := &n.readIndexer
	for {
		c.mu.Lock()
		r := c.next
		c.next = nil
		c.running = r != nil
		c.mu.Unlock()
		if r == nil {
			return
		}
		r.index, r.err = n.readRoundIndex()
		close(r.done)
	}
}

// readRoundIndex asks the leader, whoever that is, until it succeeds or the
// quorum is lost.
func (n *Node) readRoundIndex() (uint64, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.timeouts.quorumLost)
	defer cancel()
	for {
		index, err := n.readIndexFromLeader(ctx)
		if err == nil {
			return index, nil
		}
		if ctx.Err() != nil || n.quorumLost() {
			return 0, unavailable("no leader confirmed: %w", err)
		}
		wait.Sleep(ctx, retryDelay)
	}
}

var errNoLeader = errors.New("no leader is known")

func (n *Node) readIndexFromLeader(ctx context.Context) (uint64, error) {
	leader := n.Leader()
	switch leader {
	case "":
		return 0, errNoLeader
	case n.cfg.NodeID:
		return n.readIndex(ctx)
	}
	ctx, cancel := n.leadership.whileLeads(ctx, leader)
	defer cancel()
	return n.peers.ReadIndex(ctx, leader)
}

// readIndex returns, as the leader, an index that no acknowledged change
// exceeds. Another node may acknowledge a change before this one's table
// contains it, so the table has to catch up with the commit index first.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	t, err := n.leadership.awaitReady(ctx)
	if err != nil {
		return 0, err
	}
	// In this term every entry after the barrier reaches the table, so that
	// Raft's index of the newest can be waited for.
	if err := n.fsm.progress.Await(ctx, n.raft.CommitIndex()); err != nil {
		return 0, unavailable("applying what is committed: %w", err)
	}
	transfers, index := n.transfers.count(), n.table.Index()
	if err := n.leadership.verify(ctx); err != nil {
		return 0, err
	}
	// During a transfer another leader may begin while this one is still
	// believed in.
	if n.transfers.since(transfers) || !n.leadership.isCurrent(t) {
		return 0, n.leadership.notLeader()
	}
	if !t.pauses.isAwake(time.Now()) {
		return 0, unavailable("this node, which leads, has just stood still")
	}
	return index, nil
}
