package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// peerHandler serves the calls of other nodes.
type peerHandler struct{ n *Node }

var _ link.Handler = peerHandler{}

func (in peerHandler) Deliver(_ string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	in.n.cfg.Receiver.Deliver(s, m, done)
}

// Propose commits batches as the leader, and returns when all are applied
// here.
func (in peerHandler) Propose(ctx context.Context, from string, batches []*storev1.Batch) error {
	answers := make(chan error, len(batches))
	for _, b := range batches {
		if b.Origin != from {
			answers <- link.ErrRefused
			continue
		}
		in.n.batcher.submit(b, func(err error) { answers <- err })
	}
	return awaitAll(ctx, answers, len(batches))
}

// awaitAll combines the results of several batches. If only some succeeded,
// the result is unknown.
func awaitAll(ctx context.Context, answers <-chan error, n int) error {
	var failed error
	good := 0
	for range n {
		select {
		case err := <-answers:
			failed = moreUncertain(failed, err)
			if err == nil {
				good++
			}
		case <-ctx.Done():
			return unknown("waiting for the log: %w", ctx.Err())
		}
	}
	if failed != nil && good > 0 {
		return unknown("%d of %d batches: %w", n-good, n, failed)
	}
	return failed
}

func (in peerHandler) ReadIndex(ctx context.Context) (uint64, error) { return in.n.readIndex(ctx) }

func (in peerHandler) Applied(ctx context.Context, index uint64) error {
	return in.n.appliedHere(ctx, index)
}

func (in peerHandler) Watchers(user protocol.Address) []protocol.Address {
	return in.n.cfg.Receiver.WatchersOf(user)
}

func (in peerHandler) Kick(user protocol.Address, s *store.Session) int {
	return in.n.cfg.Receiver.Kick(user, s)
}

func (in peerHandler) Failed(a protocol.Attempt, times int) {
	if in.n.cfg.Failed != nil {
		in.n.cfg.Failed(a, times)
	}
}

func (in peerHandler) Succeeded(a protocol.Attempt) {
	if in.n.cfg.Succeeded != nil {
		in.n.cfg.Succeeded(a)
	}
}

func (in peerHandler) Status(context.Context) (*clusterv1.StatusResponse, error) {
	return in.n.statusResponse(), nil
}

func (in peerHandler) Probe(_ context.Context, from string) (*clusterv1.ProbeResponse, error) {
	return in.n.probeResponse(from), nil
}

var errNoCommand = errors.New("this node does not know that command")

// Command performs an administrative command for another node.
func (in peerHandler) Command(ctx context.Context, from string, c *clusterv1.CommandRequest) error {
	n := in.n
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_Form_:
		return n.acceptProposal(from, k.Form.GetServer(), k.Form.GetFounding())
	case *clusterv1.CommandRequest_Admit_:
		return n.acceptJoin(from, k.Admit.GetFounding())
	}
	if !n.isServer(from) || !n.link.IsMember(from) {
		return fmt.Errorf("%w: node %s is not part of the site", ErrRefused, from)
	}
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_TransferLeadership_:
		return n.transferAway(ctx, k.TransferLeadership.GetTo())
	case *clusterv1.CommandRequest_RemoveNode_:
		return n.removeMember(ctx, k.RemoveNode.GetNode())
	case *clusterv1.CommandRequest_Drain_:
		if n.cfg.Drain == nil {
			return ErrRefused
		}
		return n.cfg.Drain(ctx, time.Duration(k.Drain.GetWithinMs())*time.Millisecond, k.Drain.GetUndo())
	}
	return errors.Join(ErrRefused, errNoCommand)
}

// MemberUp, MemberSuspect and MemberLeft make the leader look again.
func (in peerHandler) MemberUp(link.Member)                 { in.n.gossipChanged.notify() }
func (in peerHandler) MemberSuspect(string, link.Suspicion) { in.n.gossipChanged.notify() }
func (in peerHandler) MemberLeft(string)                    { in.n.gossipChanged.notify() }
