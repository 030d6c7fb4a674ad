package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

func TestLeadershipIsTransferred(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		f := l.followers()
		to, asked := f[0].cfg.NodeID, f[1]
		leader, err := asked.TransferLeadership(l.within(10*time.Second), to)
		if err != nil || leader != to {
			t.Fatalf("%q leads, not %q: %v", leader, to, err)
		}
		if _, err := asked.TransferLeadership(l.within(10*time.Second), "n9"); !errors.Is(err, ErrRefused) {
			t.Errorf("to nobody: %v", err)
		}
		if _, err := asked.TransferLeadership(l.within(10*time.Second), ""); err != nil {
			t.Errorf("to anybody: %v", err)
		}
		if leader := l.leader().cfg.NodeID; leader == to {
			t.Errorf("%s still leads", to)
		}
		propose(t, asked, account("alice@example.com"))
	})
}

func TestAnOrderlyStopNeedsNoElection(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, other := l.leader(), l.followers()[0]
		must(t, leader.Shutdown(l.within(10*time.Second)))
		delete(l.nodes, leader.cfg.NodeID)
		before := time.Now()
		propose(t, other, account("alice@example.com"))
		if took := time.Since(before); took > 100*time.Millisecond {
			t.Errorf("a change took %v", took)
		}
		l.eventually("its epoch has ended", func() bool {
			node, _ := other.table.Node(leader.cfg.NodeID)
			return node.Down
		})
	})
}

func TestAChangedAddressIsFollowed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		id := l.followers()[0].cfg.NodeID
		l.kill(id)
		l.hosts[id] = "10.0.1.1"
		l.start(id)
		begin := time.Now()
		l.awaitReady()
		l.eventually("Raft knows the new address", func() bool {
			s, _ := l.leader().server(id)
			return s.Address == "10.0.1.1:7470"
		})
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v until the node was ready at its new address", took)
		}
		propose(t, l.nodes[id], account("alice@example.com"))
	})
}

func TestADeadNodeIsDownWithinThreeSecondsASilentOneWithinEight(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		victim := l.followers()[0]
		id := victim.cfg.NodeID
		down := func() time.Duration {
			begin := time.Now()
			l.eventually("it is down", func() bool { node, _ := l.leader().table.Node(id); return node.Down })
			return time.Since(begin)
		}
		l.kill(id)
		if took := down(); took < time.Second || took > 3*time.Second {
			t.Errorf("dead: %v", took)
		}
		l.start(id)
		l.eventually("all know that it is up", func() bool {
			for _, n := range l.nodes {
				if node, _ := n.table.Node(id); node.Down {
					return false
				}
			}
			return l.nodes[id].Ready() == nil
		})
		before := l.nodes[id].Epoch()
		l.network.Isolate(l.host(id))
		begin := time.Now()
		l.eventually("it is down", func() bool {
			for _, n := range l.nodes {
				if node, _ := n.table.Node(id); n.cfg.NodeID != id && node.Down {
					return true
				}
			}
			return false
		})
		if took := time.Since(begin); took < 4*time.Second || took > 8*time.Second {
			t.Errorf("silent: %v", took)
		}
		l.network.Rejoin(l.host(id))
		l.eventually("it is up anew", func() bool { return l.nodes[id].Epoch() > before })
	})
}

func TestALeaderWithoutTheMajorityPromisesNothing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		old := l.leader()
		l.network.Isolate(l.host(old.cfg.NodeID))
		begin := time.Now()
		_, err := old.Propose(l.within(10*time.Second), account("alice@example.com"))
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknown) || time.Since(begin) > 2500*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		begin = time.Now()
		if err := old.ReadBarrier(l.within(10 * time.Second)); !errors.Is(err, ErrUnavailable) || time.Since(begin) > 2*time.Second {
			t.Errorf("confirmed after %v: %v", time.Since(begin), err)
		}
		if old.QuorumLostFor() < contactGrace {
			t.Errorf("it believes itself in touch: %v", old.QuorumLostFor())
		}
		begin = time.Now()
		_, err = old.Propose(l.within(10*time.Second), account("alice@example.com"))
		if !errors.Is(err, ErrUnavailable) || time.Since(begin) > 100*time.Millisecond {
			t.Errorf("once that is known, after %v: %v", time.Since(begin), err)
		}
		l.network.Rejoin(l.host(old.cfg.NodeID))
		l.awaitReady()
		propose(t, old, account("alice@example.com"))
	})
}

// Whatever becomes of the leader, a change is made once or, where that was
// said, not at all; and a confirmed look-up sees all that was acknowledged.
func TestChangesAreMadeOnceAndSeenAtOnceThroughLeaderLoss(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inLab(t, func(_ *testing.T, l *lab) { leaderLoss(l, seed) })
		})
	}
}

func leaderLoss(l *lab, seed uint64) {
	l.expect = 3
	l.start("n1", "n2", "n3")
	l.awaitReady()
	var acked sync.Map // name: when it was acknowledged
	var wg sync.WaitGroup
	stop := make(chan struct{})
	count := make([]int, 3)
	for i := range 3 {
		n := l.nodes[fmt.Sprint("n", i+1)]
		wg.Go(func() { count[i] = writer(l, n, &acked, stop) })
		wg.Go(func() { reader(l, n, &acked, stop) })
	}
	random := rand.New(rand.NewPCG(seed, 2))
	for range 6 {
		<-time.After(time.Duration(1000+random.IntN(2000)) * time.Millisecond)
		switch old := l.leaderNow(); {
		case old == nil:
		case random.IntN(3) == 0:
			old.TransferLeadership(l.within(time.Second), "")
		default:
			l.network.Isolate(l.host(old.cfg.NodeID))
			<-time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
			l.network.Rejoin(l.host(old.cfg.NodeID))
		}
	}
	<-time.After(5 * time.Second)
	close(stop)
	wg.Wait()
	for i, n := range count {
		if n < 100 {
			l.t.Errorf("node %d had only %d changes made: that says too little", i+1, n)
		}
	}
}

func (l *lab) leaderNow() *Node {
	for _, n := range l.nodes {
		if n.leadership.isElected() {
			return n
		}
	}
	return nil
}

// writer creates accounts, each once: a change made twice is refused.
func writer(l *lab, n *Node, acked *sync.Map, stop chan struct{}) (made int) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return made
		case <-time.After(5 * time.Millisecond):
		}
		name := fmt.Sprintf("u%d-%s@example.com", i, n.cfg.NodeID)
		c := account(name)
		c.GetPutAccount().Mode = storev1.PutAccount_MODE_CREATE
		results, err := n.Propose(l.within(10*time.Second), c)
		switch {
		case err == nil && results[0].Refusal == store.None:
			acked.Store(name, true)
			made++
		case err == nil:
			l.t.Errorf("%s: %v %s", name, results[0].Refusal, results[0].Detail)
		case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknown):
			l.t.Errorf("%s: %v", name, err)
		}
	}
}

// reader looks, confirmed, for what was acknowledged before it asked.
func reader(l *lab, n *Node, acked *sync.Map, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(7 * time.Millisecond):
		}
		var names []string
		acked.Range(func(name, _ any) bool {
			names = append(names, name.(string))
			return true
		})
		if n.ReadBarrier(l.within(5*time.Second)) != nil {
			continue
		}
		for _, name := range names {
			if _, ok := n.table.Account(address(l.t, name)); !ok {
				l.t.Errorf("%s does not see %s", n.cfg.NodeID, name)
			}
		}
		for _, name := range names {
			acked.Delete(name)
		}
	}
}

func TestANodeThatFellFarBehindCatchesUpBySnapshot(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, id := l.leader(), l.followers()[0].cfg.NodeID
		l.kill(id)
		must(t, leader.raft.ReloadConfig(raft.ReloadableConfig{
			TrailingLogs: 1, SnapshotInterval: time.Minute, SnapshotThreshold: 16384,
			HeartbeatTimeout: leader.timeouts.heartbeat, ElectionTimeout: leader.timeouts.heartbeat,
		}))
		for i := range 20 {
			propose(t, leader, account(fmt.Sprintf("u%d@example.com", i)))
		}
		must(t, leader.raft.Snapshot().Error())
		l.start(id)
		l.awaitReady()
		l.eventually("the tables are the same", func() bool {
			a, b := leader.table.View(), l.nodes[id].table.View()
			return a.Digest() == b.Digest()
		})
		l.kill(id)
		l.start(id)
		l.awaitReady()
	})
}
