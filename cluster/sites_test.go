package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestThreeNodesFormOneSite(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		before := time.Now()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		t.Logf("ready after %v", time.Since(before))
		for id, n := range l.nodes {
			if v, r := suffrages(n); v != 3 || r != 0 {
				t.Errorf("%s knows of %d voters, %d replicas", id, v, r)
			}
			name := "of-" + id + "@example.com"
			result := propose(t, n, account(name))[0]
			for other, m := range l.nodes {
				if err := m.ReadBarrier(l.within(time.Second)); err != nil {
					t.Errorf("%s: %v", other, err)
				}
				if _, ok := m.table.Account(address(t, name)); !ok {
					t.Errorf("%s does not know what %s made", other, id)
				}
			}
			if err := n.Applied(l.within(time.Second), result.Index, nil); err != nil {
				t.Error(err)
			}
		}
	})
}

// Five nodes that all expect three, and find one another in any order, are one site.
func TestNodesNeverFormTwoSites(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				random := rand.New(rand.NewPCG(seed, 1))
				l.expect = 3
				for _, i := range random.Perm(5) {
					l.start(fmt.Sprint("n", i+1))
					if random.IntN(2) == 0 {
						l.network.Isolate(l.host(fmt.Sprint("n", i+1)))
					}
					<-time.After(time.Duration(random.IntN(2000)) * time.Millisecond)
				}
				for id := range l.nodes {
					l.network.Rejoin(l.host(id))
				}
				l.awaitReady()
				l.leader()
				for id, n := range l.nodes {
					if h := n.table.History(); h != l.nodes["n1"].table.History() {
						t.Errorf("%s is in another site, with the history %q", id, h)
					}
				}
			})
		})
	}
}

func TestNodesJoinAndGetVotesUpToThree(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 1
		l.start("n1")
		l.awaitReady()
		l.expect = 0
		l.start("n2", "n3", "n4")
		l.awaitReady()
		l.eventually("three nodes vote", func() bool {
			v, r := suffrages(l.leader())
			return v == 3 && r == 1
		})
		propose(t, l.nodes["n4"], account("alice@example.com"))
	})
}

func TestADeadVoterLosesItsVoteToASpare(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		l.expect = 0
		l.start("n4")
		l.awaitReady()
		leader, dead := l.leader(), l.followers()[0].cfg.NodeID
		l.kill(dead)
		<-time.After(9 * time.Minute)
		if s, _ := leader.server(dead); s.Suffrage != raft.Voter {
			t.Error("it loses its vote while it may yet come back")
		}
		<-time.After(2 * time.Minute)
		if s, _ := leader.server(dead); s.Suffrage != raft.Nonvoter {
			t.Errorf("%s still votes", dead)
		}
		if s, _ := leader.server("n4"); s.Suffrage != raft.Voter {
			t.Error("n4 does not vote")
		}
		l.start(dead)
		l.awaitReady()
		if v, r := suffrages(leader); v != 3 || r != 1 || leader.Stats().Tolerance != 1 {
			t.Errorf("%d voters, %d replicas, %+v", v, r, leader.Stats())
		}
	})
}

func TestAReplicaNeverVotes(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 1
		l.start("n1")
		l.expect = 0
		l.setup = func(c *Config) { c.replica = true }
		l.start("n2")
		l.awaitReady()
		<-time.After(time.Minute)
		if v, r := suffrages(l.nodes["n1"]); v != 1 || r != 1 {
			t.Errorf("%d voters, %d replicas", v, r)
		}
	})
}

func TestASiteOfOneWithSeedsWaitsForThem(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.setup = func(c *Config) { c.BootstrapExpect = 1 }
		l.start("n2")
		<-time.After(time.Minute)
		if err := l.nodes["n2"].Ready(); err == nil || !strings.Contains(err.Error(), "waiting to form a site") {
			t.Errorf("it is ready: %v", err)
		}
	})
}

func TestANodeThatLostItsDataIsTurnedAway(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		l.kill("n3")
		must(t, os.RemoveAll(filepath.Join(l.dir, "n3")))
		l.start("n3")
		l.eventually("n3 ends", func() bool { return l.why("n3") != nil })
		if err := l.why("n3").Error(); !strings.Contains(err, "the site has a node n3 already") {
			t.Error(err)
		}
		if last := l.nodes["n3"].raft.LastIndex(); last != 0 {
			t.Errorf("it took part in Raft, up to entry %d", last)
		}
	})
}

func TestARemovedNodeComesBackWipedAndAdmittedOnly(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader := l.leader()
		id := l.followers()[0].cfg.NodeID
		l.kill(id)
		if err := l.followers()[0].RemoveNode(l.within(20*time.Second), id); err != nil {
			t.Fatal(err)
		}
		if _, known := leader.table.Node(id); known || leader.isServer(id) {
			t.Error("the node is still known")
		}
		l.start(id)
		<-time.After(30 * time.Second)
		if err := l.nodes[id].Ready(); err == nil {
			t.Error("a removed node is ready")
		}
		l.kill(id)
		must(t, os.RemoveAll(filepath.Join(l.dir, id)))
		l.start(id)
		<-time.After(30 * time.Second)
		if err := l.nodes[id].Ready(); err == nil || leader.isServer(id) {
			t.Error("a removed node with an empty folder is taken in by itself")
		}
		must(t, leader.AdmitNode(l.within(20*time.Second), id))
		l.awaitReady()
		l.eventually("it votes again", func() bool { v, _ := suffrages(leader); return v == 3 })
	})
}

func TestRemovingTheLeaderOrNobody(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		old := l.leader().cfg.NodeID
		asked := l.followers()[0]
		if err := asked.RemoveNode(l.within(20*time.Second), "n9"); !errors.Is(err, ErrRefused) {
			t.Errorf("removing nobody: %v", err)
		}
		if err := asked.RemoveNode(l.within(20*time.Second), old); err != nil {
			t.Errorf("removing the leader: %v", err)
		}
		if asked.isServer(old) || asked.Leader() == old {
			t.Errorf("%s is still part of the site", old)
		}
		l.eventually("it knows", func() bool { return l.nodes[old].Ready() != nil && l.nodes[old].QuorumLostFor() > 0 })
	})
}
