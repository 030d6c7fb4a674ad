package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// ask has one node ask another for its vote, in a high term.
func ask(from, to *Node) error {
	var answer raft.RequestVoteResponse
	header := from.transport.headers.stamp(raft.ServerID(to.cfg.NodeID), raft.RPCHeader{ProtocolVersion: 3, ID: []byte(from.cfg.NodeID)})
	return from.transport.Transport.RequestVote(raft.ServerID(to.cfg.NodeID), raft.ServerAddress(to.link.Addr()),
		&raft.RequestVoteRequest{RPCHeader: header, Term: 1000, LastLogIndex: 1 << 40, LastLogTerm: 999}, &answer)
}

// TestWhoIsBehindTrustsNoRemovedNode: a node that was cut off while another was
// removed listens to it neither while it is cut off nor when it is back.
func TestWhoIsBehindTrustsNoRemovedNode(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		l.expect = 0
		l.setup = func(c *Config) { c.replica = true }
		l.start("n4")
		l.awaitReady()
		behind, removed := l.nodes["n4"], l.followers()[0]
		for _, id := range []string{"n1", "n2", "n3"} {
			if id != removed.cfg.NodeID {
				l.network.Cut(l.host(id), l.host("n4"))
				l.network.Cut(l.host("n4"), l.host(id))
			}
		}
		<-time.After(2 * trustTimeout)
		must(t, l.leader3(removed).RemoveNode(l.within(20*time.Second), removed.cfg.NodeID))
		if !behind.isServer(removed.cfg.NodeID) {
			t.Fatal("n4 knows of the removal")
		}
		if err := ask(removed, behind); err == nil || behind.raft.CurrentTerm() >= 1000 {
			t.Errorf("it is answered while n4 is cut off: term %d, %v", behind.raft.CurrentTerm(), err)
		}
		l.network.Rejoin(l.host("n4"))
		if err := ask(removed, behind); err == nil || behind.raft.CurrentTerm() >= 1000 {
			t.Errorf("it is answered when n4 is back: term %d, %v", behind.raft.CurrentTerm(), err)
		}
		l.eventually("n4 catches up", func() bool { return behind.Ready() == nil && !behind.isServer(removed.cfg.NodeID) })
	})
}

// leader3 is the node that leads the first three.
func (l *lab) leader3(asked *Node) (leader *Node) {
	l.t.Helper()
	l.eventually("one leads", func() bool { leader = l.nodes[asked.Leader()]; return leader != nil })
	return leader
}

// TestWhoIsBehindFollowsANewLeader: a node that was down while another joined
// and came to lead catches up from it.
func TestWhoIsBehindFollowsANewLeader(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		behind, gone := l.followers()[0].cfg.NodeID, l.followers()[1].cfg.NodeID
		l.kill(behind)
		l.expect = 0
		l.start("n4")
		l.eventually("n4 is ready", func() bool { return l.nodes["n4"].Ready() == nil })
		leader := l.nodes[l.nodes["n4"].Leader()]
		must(t, leader.raft.AddVoter("n4", raft.ServerAddress(l.nodes["n4"].link.Addr()), 0, 5*time.Second).Error())
		must(t, leader.RemoveNode(l.within(30*time.Second), gone))
		l.kill(gone)
		if _, err := leader.TransferLeadership(l.within(20*time.Second), "n4"); err != nil {
			t.Fatal(err)
		}
		l.start(behind)
		l.awaitReady()
		if lead := l.nodes[behind].Leader(); lead != "n4" {
			t.Errorf("%s follows %s", behind, lead)
		}
	})
}
