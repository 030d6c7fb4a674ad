package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// transferRest is how long a failed transfer is not repeated: twice what a
// call of Raft's may take.
const transferRest = 10 * time.Second

// transfers counts the times that this node, leading, tried to hand over.
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

// since reports whether one is under way, or has begun after count was begun.
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
	if wait := transferRest - time.Since(t.failed); wait > 0 {
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

// TransferLeadership makes the node to, or with "" the most fitting voter, the
// leader, and returns who leads then. It may be called on any node.
func (n *Node) TransferLeadership(ctx context.Context, to string) (leader string, err error) {
	leads := n.Leader()
	switch leads {
	case "":
		return "", unavailable("%w", errNoLeader)
	case to:
		return leads, nil
	case n.cfg.NodeID:
		err = n.handOver(ctx, to)
	default:
		err = n.link.Command(ctx, leads, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_TransferLeadership_{
			TransferLeadership: &clusterv1.CommandRequest_TransferLeadership{To: to}}})
	}
	if err != nil {
		return "", err
	}
	if leader, err = n.awaitLeader(ctx, leads); err != nil {
		return "", unknown("%s has handed the leadership over: %w", leads, err)
	}
	return leader, nil
}

// handOver makes another voter the leader in place of this node.
func (n *Node) handOver(ctx context.Context, to string) error {
	if err := n.reigns(ctx); err != nil {
		return err
	}
	s, err := n.successor(ctx, to)
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

// successor is the voter asked for, or the one that has come furthest. It has
// to answer now: Raft itself would wait for one that is dead.
func (n *Node) successor(ctx context.Context, to string) (raft.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	best, furthest := raft.Server{}, uint64(0)
	for _, s := range n.servers() {
		if s.Suffrage != raft.Voter || string(s.ID) == n.cfg.NodeID || to != "" && string(s.ID) != to {
			continue
		}
		status, err := n.link.Status(ctx, string(s.ID))
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
