package cluster

import (
	"errors"
	"testing"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

// TestS31ARemovedNodeCommandsNobody: a node that runs on after it was taken
// out of the site can't steer those that it left, nor ask them for anything.
func TestS31ARemovedNodeCommandsNobody(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, removed := l.leader(), l.followers()[0]
		if err := leader.RemoveNode(l.within(20*time.Second), removed.cfg.NodeID); err != nil {
			t.Fatal(err)
		}
		for _, stays := range []*Node{leader, l.third(removed, leader)} {
			l.eventually("it knows", func() bool { return !stays.isServer(removed.cfg.NodeID) })
			to := stays.cfg.NodeID
			err := removed.link.Command(l.within(5*time.Second), to, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{
				RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: to}}})
			if !errors.Is(err, ErrRefused) {
				t.Errorf("a command to %s: %v", to, err)
			}
			user, _ := protocol.ParseAddress("alice@example.com")
			if _, err := removed.link.Kick(l.within(5*time.Second), to, user, nil); err == nil {
				t.Errorf("it may end connections at %s", to)
			}
			if _, err := removed.link.Probe(l.within(5*time.Second), to); err != nil {
				t.Errorf("it can't find out what %s is: %v", to, err)
			}
		}
	})
}

// third is the node that is neither of the two.
func (l *lab) third(a, b *Node) *Node {
	for _, n := range l.nodes {
		if n != a && n != b {
			return n
		}
	}
	l.t.Fatal("there is no third node")
	return nil
}
