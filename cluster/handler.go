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

// inbound is a node as the other nodes reach it.
type inbound struct{ n *Node }

var _ link.Handler = inbound{}

func (in inbound) Deliver(_ string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	in.n.cfg.Receiver.Deliver(s, m, done)
}

// Propose takes batches as the leader, and answers once all are applied here.
func (in inbound) Propose(ctx context.Context, from string, batches []*storev1.Batch) error {
	answers := make(chan error, len(batches))
	for _, b := range batches {
		if b.Origin != from {
			answers <- link.ErrRefused
			continue
		}
		in.n.intake.offer(b, func(err error) { answers <- err })
	}
	return together(ctx, answers, len(batches))
}

// together makes one answer for several batches. Where some were taken and
// others not, the proposer has to find out.
func together(ctx context.Context, answers <-chan error, n int) error {
	var failed error
	good := 0
	for range n {
		select {
		case err := <-answers:
			failed = worse(failed, err)
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

func (in inbound) ReadIndex(ctx context.Context) (uint64, error) { return in.n.readIndex(ctx) }

func (in inbound) Applied(ctx context.Context, index uint64) error {
	return in.n.appliedHere(ctx, index)
}

func (in inbound) Watchers(user protocol.Address) []protocol.Address {
	return in.n.cfg.Receiver.WatchersOf(user)
}

func (in inbound) Kick(user protocol.Address, s *store.Session) int {
	return in.n.cfg.Receiver.Kick(user, s)
}

func (in inbound) Failed(a protocol.Attempt, times int) {
	if in.n.cfg.Failed != nil {
		in.n.cfg.Failed(a, times)
	}
}

func (in inbound) Succeeded(a protocol.Attempt) {
	if in.n.cfg.Succeeded != nil {
		in.n.cfg.Succeeded(a)
	}
}

func (in inbound) Status(context.Context) (*clusterv1.StatusResponse, error) {
	return in.n.status(), nil
}

func (in inbound) Probe(_ context.Context, from string) (*clusterv1.ProbeResponse, error) {
	return in.n.probe(from), nil
}

var errNoCommand = errors.New("this node does not know that command")

// Command does what another node asks for, here.
func (in inbound) Command(ctx context.Context, from string, c *clusterv1.CommandRequest) error {
	n := in.n
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_Form_:
		return n.promiseTo(from, k.Form.GetServer(), k.Form.GetFounding())
	case *clusterv1.CommandRequest_Admit_:
		return n.beAdmitted(from, k.Admit.GetFounding())
	}
	if !n.isServer(from) || !n.link.IsMember(from) {
		return fmt.Errorf("%w: node %s is not part of the site", ErrRefused, from)
	}
	switch k := c.Kind.(type) {
	case *clusterv1.CommandRequest_TransferLeadership_:
		return n.handOver(ctx, k.TransferLeadership.GetTo())
	case *clusterv1.CommandRequest_RemoveNode_:
		return n.remove(ctx, k.RemoveNode.GetNode())
	case *clusterv1.CommandRequest_Drain_:
		if n.cfg.Drain == nil {
			return ErrRefused
		}
		return n.cfg.Drain(ctx, time.Duration(k.Drain.GetWithinMs())*time.Millisecond, k.Drain.GetUndo())
	}
	return errors.Join(ErrRefused, errNoCommand)
}

// MemberUp, MemberSuspect and MemberLeft are hints to look again.
func (in inbound) MemberUp(link.Member)                 { in.n.members.now() }
func (in inbound) MemberSuspect(string, link.Suspicion) { in.n.members.now() }
func (in inbound) MemberLeft(string)                    { in.n.members.now() }
