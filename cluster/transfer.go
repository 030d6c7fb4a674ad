package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// transferCooldown is how long a failed transfer is not repeated: twice the
// maximum duration of a Raft call.
const transferCooldown = 10 * time.Second

// transfers tracks the leadership transfers that this node has started.
type transfers struct {
	mu     sync.Mutex
	begun  uint64
	busy   bool
	failed time.Time
}

func (t *transfers) count() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun
}

// since reports whether a transfer is in progress, or has started after count
// was begun.
func (t *transfers) since(begun uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy || t.begun != begun
}

func (t *transfers) begin() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy {
		return unavailable("another transfer is under way")
	}
	if wait := transferCooldown - time.Since(t.failed); wait > 0 {
		return unavailable("a transfer has just failed; the next may begin in %v", wait.Round(time.Second))
	}
	t.busy, t.begun = true, t.begun+1
	return nil
}

func (t *transfers) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	if err != nil {
		t.failed = time.Now()
	}
}

// TransferLeadership makes the node to, or with "" the most suitable voter,
// the leader, and returns the new leader. It may be called on any node.
func (n *Node) TransferLeadership(ctx context.Context, to string) (leader string, err error) {
	leads := n.Leader()
	switch leads {
	case "":
		return "", unavailable("%w", errNoLeader)
	case to:
		return leads, nil
	case n.cfg.NodeID:
		err = n.transferAway(ctx, to)
	default:
		err = n.peers.Command(ctx, leads, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_TransferLeadership_{
			TransferLeadership: &clusterv1.CommandRequest_TransferLeadership{To: to}}})
	}
	if err != nil {
		return "", err
	}
	if leader, err = n.leadership.awaitOther(ctx, leads); err != nil {
		return "", unknown("%s has handed the leadership over: %w", leads, err)
	}
	return leader, nil
}

// transferAway makes another voter the leader in place of this node.
func (n *Node) transferAway(ctx context.Context, to string) error {
	if err := n.leadership.await(ctx); err != nil {
		return err
	}
	s, err := n.pickSuccessor(ctx, to)
	if err != nil {
		return err
	}
	if err := n.transfers.begin(); err != nil {
		return err
	}
	f := n.raft.LeadershipTransferToServer(s.ID, s.Address)
	done := make(chan error, 1)
	n.wg.Go(func() {
		err := f.Error()
		n.transfers.end(err)
		done <- err
	})
	select {
	case err = <-done:
	case <-ctx.Done():
		return unknown("handing the leadership over to %s: %w", s.ID, ctx.Err())
	}
	if err != nil {
		return unknown("handing the leadership over to %s: %w", s.ID, err) // it may have been asked to stand already
	}
	return nil
}

// pickSuccessor returns the requested voter, or the one that has come
// furthest. It must answer now, because Raft itself would wait for a dead
// one.
func (n *Node) pickSuccessor(ctx context.Context, to string) (raft.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	best, furthest := raft.Server{}, uint64(0)
	for _, s := range n.servers() {
		if s.Suffrage != raft.Voter || string(s.ID) == n.cfg.NodeID || to != "" && string(s.ID) != to {
			continue
		}
		status, err := n.peers.Status(ctx, string(s.ID))
		if err == nil && !status.Draining && status.AppliedLog >= furthest {
			best, furthest = s, status.AppliedLog
		}
	}
	switch {
	case best.ID != "":
		return best, nil
	case to != "":
		return best, fmt.Errorf("%w: %s is not a voter that answers and takes clients", ErrRefused, to)
	}
	return best, unavailable("no other voter answers and takes clients")
}
