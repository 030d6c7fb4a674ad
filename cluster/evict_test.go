package cluster

import (
	"fmt"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// listenOn binds users on a node, one session each.
func listenOn(t *testing.T, n *Node, users int) {
	t.Helper()
	accounts, binds := make([]*storev1.Change, users), make([]*storev1.Change, users)
	for i := range users {
		accounts[i] = account(fmt.Sprintf("u%d@example.com", i))
	}
	for i, r := range propose(t, n, accounts...) {
		binds[i] = &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
			Address: fmt.Sprintf("u%d@example.com", i), Session: &storev1.Session{Node: n.cfg.NodeID, Epoch: n.Epoch(), Number: uint64(i + 1)},
			Epoch: n.Epoch(), State: storev1.State_STATE_AVAILABLE, Credential: r.Index,
		}}}
	}
	propose(t, n, binds...)
}

func listeners(n *Node) int {
	_, listening := n.table.View().Len()
	return listening
}

func TestTheUsersOfADeadNodeBecomeDeafInPieces(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, victim := l.leader(), l.followers()[0]
		const users = 2*reapBatch + 10
		listenOn(t, victim, users)
		l.eventually("the leader knows them", func() bool { return listeners(leader) == users })
		after := leader.table.Index()
		entries := leader.raft.LastIndex()
		l.kill(victim.cfg.NodeID)
		l.eventually("all are deaf", func() bool { return listeners(leader) == 0 })
		events, ok := leader.table.Events(after, 2*users)
		if !ok || len(events) != users+1 || events[0].Kind != store.EventNodeDown {
			t.Fatalf("%d events for %d users and a node", len(events), users)
		}
		if n := leader.raft.LastIndex() - entries; n < 4 || n > 20 {
			t.Errorf("it took %d entries", n)
		}
		if node, _ := leader.table.Node(victim.cfg.NodeID); !node.Down || node.NeedsReap {
			t.Errorf("the node's record is %+v", node)
		}
	})
}

func TestTheUsersOfADeadLeaderBecomeDeafToo(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, other := l.leader(), l.followers()[0]
		listenOn(t, leader, 100)
		l.eventually("another node knows them", func() bool { return listeners(other) == 100 })
		begin := time.Now()
		l.kill(leader.cfg.NodeID)
		l.eventually("all are deaf", func() bool { return listeners(other) == 0 })
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestARestartedNodesUsersAreReaped(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, id := l.leader(), l.followers()[0].cfg.NodeID
		listenOn(t, l.nodes[id], 700)
		l.eventually("the leader knows them", func() bool { return listeners(leader) == 700 })
		l.kill(id)
		l.start(id) // sooner than anybody has noticed
		l.awaitReady()
		l.eventually("all are deaf", func() bool { return listeners(leader) == 0 })
		if taken := l.nodes[id].Metrics().TakenForDead.Load(); taken != 0 {
			t.Errorf("a new process counts %d times that it was taken for dead", taken)
		}
		if node, _ := leader.table.Node(id); node.Down || node.NeedsReap {
			t.Errorf("the node's record is %+v", node)
		}
	})
}

func TestAfterAFullRestartWhoIsNotBackIsDown(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		listenOn(t, l.nodes["n3"], 100)
		l.eventually("all know them", func() bool { return listeners(l.nodes["n1"]) == 100 && listeners(l.nodes["n2"]) == 100 })
		for _, id := range []string{"n1", "n2", "n3"} {
			l.kill(id)
		}
		l.start("n1", "n2")
		l.awaitReady()
		l.eventually("the users of n3 are deaf", func() bool { return listeners(l.nodes["n1"]) == 0 })
		if node, _ := l.nodes["n1"].table.Node("n3"); !node.Down {
			t.Errorf("n3's record is %+v", node)
		}
	})
}

func TestAWokenNodeBindsAgainInItsNewEpoch(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		victim := l.followers()[0]
		listenOn(t, victim, 1)
		old := victim.Epoch()
		bound := victim.table.Listener(address(t, "u0@example.com")).Bindings[0].Bound
		l.network.Isolate(l.host(victim.cfg.NodeID))
		l.eventually("its user is deaf", func() bool { return listeners(l.leaderOfMost(victim)) == 0 })
		l.network.Rejoin(l.host(victim.cfg.NodeID))
		l.eventually("it is up anew", func() bool { return victim.Epoch() > old })
		for id, n := range l.nodes {
			if taken := n.Metrics().TakenForDead.Load(); (taken == 1) != (n == victim) || taken > 1 {
				t.Errorf("%s was taken for dead %d times", id, taken)
			}
		}
		bind := &storev1.Bind{
			Address: "u0@example.com", Session: &storev1.Session{Node: victim.cfg.NodeID, Epoch: old, Number: 1},
			Epoch: old, State: storev1.State_STATE_AVAILABLE, Credential: credential(victim), Rebind: bound,
		}
		results, err := victim.Propose(l.within(5*time.Second), &storev1.Change{Kind: &storev1.Change_Bind{Bind: bind}})
		if err != nil || results[0].Refusal != store.EndedEpoch {
			t.Errorf("a change of the ended epoch: %+v, %v", results, err)
		}
		bind.Epoch = victim.Epoch()
		propose(t, victim, &storev1.Change{Kind: &storev1.Change_Bind{Bind: bind}})
		if p := victim.table.Presence(address(t, "u0@example.com")); p.State != protocol.Available {
			t.Errorf("the user is %v", p.State)
		}
	})
}

func credential(n *Node) uint64 {
	a, _ := protocol.ParseAddress("u0@example.com")
	account, _ := n.table.Account(a)
	return account.Credential
}

// leaderOfMost is the leader of all but one node, once there is one.
func (l *lab) leaderOfMost(but *Node) *Node {
	for _, n := range l.nodes {
		if n != but && n.Leader() != but.cfg.NodeID && n.Leader() != "" {
			return l.nodes[n.Leader()]
		}
	}
	return but
}
