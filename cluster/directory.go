package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// Propose makes changes, in order, each by itself, and returns once this
// node's own table contains them: a result for each, refused or not. The
// error is ErrUnavailable if certainly nothing was done, and ErrUnknown if it
// may have been, or may yet be. It returns within ctx, and within two seconds
// (three with relaxed timing) of the loss of the majority.
func (n *Node) Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	return n.propose(ctx, changes...)
}

func (n *Node) propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	begun := time.Now()
	results, err := n.proposer.Propose(ctx, changes)
	n.metrics.Change.ObserveSince(begun)
	n.metrics.Changes.add(len(changes), err)
	return results, err
}

// Epoch returns this node's current epoch; 0 without one.
func (n *Node) Epoch() uint64 { return n.epoch.Load() }

// Position returns how far this node's table has come.
func (n *Node) Position() store.Position { return n.table.Position() }

// QuorumLostFor returns for how long this node has been unable to speak for
// the site: out of contact with the majority, or just resumed after a stall
// and not confirmed since. It returns 0 while it can.
func (n *Node) QuorumLostFor() time.Duration {
	return max(n.stalledFor(), n.raftQuorumLostFor())
}

// raftQuorumLostFor returns for how long this node has been out of contact
// with the majority; 0 while it is in contact.
func (n *Node) raftQuorumLostFor() time.Duration {
	if n.consistency.isWrong.Load() {
		return forever
	}
	if n.leadership.isElected() {
		return 0 // or its lease would have run out
	}
	if n.leadership.isEstablished() {
		return 0 // it has just led, and Raft still says when it last followed
	}
	last := n.raft.LastContact()
	if last.Before(n.started) {
		last = n.started
	}
	if d := time.Since(last); d >= contactGrace {
		return d
	}
	return 0
}

// CaughtUp returns nil if the table has, since this process started,
// contained everything that the site had acknowledged at some moment, and
// this node is part of the site; otherwise why the table must not be read.
func (n *Node) CaughtUp() error {
	switch {
	case n.table.History() != "" && !n.isServer(n.cfg.NodeID):
		return errors.New("this node is not part of the site any more")
	case !n.caughtUp.Load():
		return errors.New("this node has started and is still catching up with the site")
	}
	return nil
}

// forever is longer than any caller waits.
const forever = time.Hour

// quorumLost reports whether everything that waits for the majority is to be
// given up.
func (n *Node) quorumLost() bool { return n.raftQuorumLostFor() >= n.timeouts.quorumLost }

// Applied returns nil once the named nodes (nil: all that are up, including
// this one) have applied index and notified their sessions, or are down;
// otherwise ErrUnavailable when ctx ends.
func (n *Node) Applied(ctx context.Context, index uint64, nodes []string) error {
	if nodes == nil {
		nodes = n.liveNodes()
	}
	errs := make(chan error, len(nodes))
	for _, id := range nodes {
		go func() { errs <- n.appliedAt(ctx, id, index) }()
	}
	var failed error
	for range nodes {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

// liveNodes returns the IDs of the nodes that are up.
func (n *Node) liveNodes() []string {
	var ids []string
	for _, node := range n.table.Nodes() {
		if !node.Down {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

// appliedAt waits until one node has applied index, or is down.
func (n *Node) appliedAt(ctx context.Context, id string, index uint64) error {
	if id == n.cfg.NodeID {
		return n.appliedHere(ctx, index)
	}
	for {
		changed := n.nodesChanged.Changed()
		if node, ok := n.table.Node(id); !ok || node.Down {
			return nil
		}
		err := n.askApplied(ctx, id, index, changed)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return unavailable("waiting for node %s to apply change %d: %w", id, index, err)
		}
		wait.Sleep(ctx, retryDelay)
	}
}

func (n *Node) appliedHere(ctx context.Context, index uint64) error {
	err := n.table.Wait(ctx, index)
	if err == nil {
		err = n.cfg.Receiver.Settle(ctx, index)
	}
	if err != nil {
		return unavailable("waiting for node %s to apply change %d: %w", n.cfg.NodeID, index, err)
	}
	return nil
}

// askApplied asks a node once, until what is known of the nodes changes.
func (n *Node) askApplied(ctx context.Context, id string, index uint64, changed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- n.peers.Applied(ctx, id, index) }()
	select {
	case err := <-answer:
		return err
	case <-changed:
		return fmt.Errorf("the nodes have changed")
	case <-ctx.Done():
		return ctx.Err()
	}
}
