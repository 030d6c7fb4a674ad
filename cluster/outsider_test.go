package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// TestARemovedNodeCommandsNobody: a node that runs on after it was taken
// out of the site can't steer those that it left, nor ask them for anything.
func TestARemovedNodeCommandsNobody(t *testing.T) {
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
			l.eventually("its connections end", func() bool { return !removed.link.Connectivity(to).Connected })
			err := removed.peers.Command(l.within(5*time.Second), to, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_RemoveNode_{
				RemoveNode: &clusterv1.CommandRequest_RemoveNode{Node: to}}})
			if err == nil || !stays.isServer(to) {
				t.Errorf("a command to %s: %v", to, err)
			}
			if _, err := removed.peers.Probe(l.within(5*time.Second), to); err == nil {
				t.Errorf("it may ask what %s is", to)
			}
		}
		term := leader.raft.CurrentTerm()
		<-time.After(time.Minute)
		if l := leader.raft; l.CurrentTerm() != term || leader.Leader() != leader.cfg.NodeID {
			t.Errorf("it disturbs the site: term %d, was %d", l.CurrentTerm(), term)
		}
	})
}

// TestAnOlderSchemaKeepsANodeOutByTheConfiguration: a site that older versions
// are part of keeps no record of a node that was removed; it may do nothing
// but ask to join, and learns nothing with which it could.
func TestAnOlderSchemaKeepsANodeOutByTheConfiguration(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.setup = func(c *Config) { c.Table = store.New(store.Config{Newest: 1}) }
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, removed := l.leader(), l.followers()[0]
		if err := leader.RemoveNode(l.within(20*time.Second), removed.cfg.NodeID); err != nil {
			t.Fatal(err)
		}
		stays := l.third(removed, leader)
		l.eventually("it knows", func() bool { return !stays.isServer(removed.cfg.NodeID) })
		l.eventually("it may ask again", func() bool { return removed.link.Connectivity(stays.cfg.NodeID).Connected })
		p, err := removed.peers.Probe(l.within(5*time.Second), stays.cfg.NodeID)
		if err != nil || p.ClusterId != nil || p.History != "" || p.LastLog != 0 || !p.HasState {
			t.Errorf("it is told %v, %v", p, err)
		}
		user, _ := protocol.ParseAddress("alice@example.com")
		if _, err := removed.peers.Kick(l.within(5*time.Second), stays.cfg.NodeID, user, nil); err == nil {
			t.Error("it may end connections")
		}
		if err := removed.peers.Command(l.within(5*time.Second), stays.cfg.NodeID, &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_TransferLeadership_{}}); !errors.Is(err, ErrRefused) {
			t.Errorf("a command: %v", err)
		}
		var answer raft.RequestVoteResponse
		transport := removed.transport.Transport
		err = transport.RequestVote(raft.ServerID(stays.cfg.NodeID), raft.ServerAddress(stays.link.Addr()), &raft.RequestVoteRequest{
			RPCHeader: removed.transport.headers.stamp(raft.ServerID(stays.cfg.NodeID), raft.RPCHeader{ProtocolVersion: 3, ID: []byte(removed.cfg.NodeID)}), Term: 1000, LastLogIndex: 1000, LastLogTerm: 999}, &answer)
		if err == nil || stays.raft.CurrentTerm() > 100 {
			t.Errorf("its call of Raft is answered: %+v, %v", answer, err)
		}
	})
}

// TestAMemberSpeaksForNoOther: a node of the site can neither lead, nor stand for
// election, in the name of another one.
func TestAMemberSpeaksForNoOther(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, liar := l.leader(), l.followers()[0]
		to, term := l.third(leader, liar), leader.raft.CurrentTerm()
		header := liar.transport.headers.stamp(raft.ServerID(to.cfg.NodeID), raft.RPCHeader{ProtocolVersion: 3, ID: []byte(leader.cfg.NodeID), Addr: []byte(leader.link.Addr())})
		id, addr, transport := raft.ServerID(to.cfg.NodeID), raft.ServerAddress(to.link.Addr()), liar.transport.Transport
		if err := transport.AppendEntries(id, addr, &raft.AppendEntriesRequest{RPCHeader: header, Term: 1000}, &raft.AppendEntriesResponse{}); err == nil {
			t.Error("a heartbeat in the leader's name is answered")
		}
		if err := transport.RequestVote(id, addr, &raft.RequestVoteRequest{RPCHeader: header, Term: 1000, LastLogIndex: 1 << 40, LastLogTerm: 999}, &raft.RequestVoteResponse{}); err == nil {
			t.Error("a vote is answered that the leader did not ask for")
		}
		if err := transport.TimeoutNow(id, addr, &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{}); err == nil {
			t.Error("it is had to stand for election")
		}
		<-time.After(time.Minute)
		if leader.raft.CurrentTerm() != term || l.leader() != leader {
			t.Errorf("term %d after %d", leader.raft.CurrentTerm(), term)
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
