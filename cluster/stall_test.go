package cluster

import (
	"testing"
	"time"
)

func TestStallDetector(t *testing.T) {
	var d stallDetector
	now := time.Now()
	at := func(after time.Duration) time.Time { return now.Add(after) }
	if !d.observe(at(0)).IsZero() || !d.observe(at(stallAllowed)).IsZero() {
		t.Error("no stall was seen as one")
	}
	if since := d.observe(at(2*stallAllowed + 1)); !since.Equal(at(stallAllowed)) {
		t.Errorf("a stall began at %v", since)
	}
	if since := d.observe(at(5 * stallAllowed)); !since.Equal(at(stallAllowed)) {
		t.Errorf("a second stall before the first is confirmed: %v", since)
	}
	d.confirmed(at(0)) // another one
	if d.observe(at(5 * stallAllowed)).IsZero() {
		t.Error("a stall was confirmed by the word about another")
	}
	d.confirmed(at(stallAllowed))
	if !d.observe(at(5 * stallAllowed)).IsZero() {
		t.Error("a stall is not over though it is confirmed")
	}
}

// After a stall a node does not speak for the table until the leader has
// confirmed it, whatever Raft's heartbeats say.
func TestAStalledNodeIsOutOfTouchUntilConfirmed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		for _, n := range []*Node{l.leader(), l.followers()[0]} {
			n.stalls.mu.Lock()
			n.stalls.seen = time.Now().Add(-time.Minute) // as if it had not run since
			n.stalls.mu.Unlock()
			if lost := n.QuorumLostFor(); lost != stallReported {
				t.Errorf("%s: out of touch for %v", n.cfg.NodeID, lost)
			}
			if err := n.Ready(); err == nil {
				t.Errorf("%s is ready", n.cfg.NodeID)
			}
			l.eventually("the table is confirmed", func() bool { return n.QuorumLostFor() == 0 })
		}
		n := l.followers()[0]
		for id := range l.nodes {
			if id != n.cfg.NodeID {
				l.kill(id)
			}
		}
		n.stalls.mu.Lock()
		n.stalls.seen = time.Now().Add(-time.Minute)
		n.stalls.mu.Unlock()
		for range 10 {
			if lost := n.QuorumLostFor(); lost != stallReported {
				t.Errorf("alone: out of touch for %v", lost)
			}
			<-time.After(stallInterval)
		}
	})
}

func TestCaughtUp(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2")
		if err := l.nodes["n1"].CaughtUp(); err == nil {
			t.Error("a node without a site has caught up")
		}
		l.start("n3")
		l.awaitReady()
		for id, n := range l.nodes {
			if err := n.CaughtUp(); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		gone := l.followers()[0]
		must(t, l.leader().RemoveNode(l.within(30*time.Second), gone.cfg.NodeID))
		// It may never be told, as nobody speaks to it any more.
		l.eventually("the removed node speaks for nothing", func() bool { return gone.CaughtUp() != nil || gone.QuorumLostFor() > stallAllowed })
	})
}
