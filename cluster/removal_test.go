package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

// A node whose removal would leave no majority stays.
func TestRemovalKeepsAMajority(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader := l.leader()
		f := l.followers()
		dead, alive := f[0].cfg.NodeID, f[1].cfg.NodeID
		l.kill(dead)
		l.awaitReady()
		for _, asked := range []*Node{leader, l.nodes[alive]} {
			if err := asked.RemoveNode(l.within(10*time.Second), alive); !errors.Is(err, ErrRefused) {
				t.Fatalf("%s, while %s is dead: %v", alive, dead, err)
			}
		}
		propose(t, leader, account("alice@example.com")) // the majority is there
		must(t, leader.RemoveNode(l.within(30*time.Second), dead))
		must(t, leader.RemoveNode(l.within(30*time.Second), alive)) // two that answer may become one
		if s := leader.servers(); len(s) != 1 {
			t.Errorf("the configuration is %v", s)
		}
		propose(t, leader, account("bob@example.com"))
	})
}

// The leader keeps leading where it may not be removed.
func TestRefusedRemovalOfTheLeaderMovesNothing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, f := l.leader(), l.followers()
		l.kill(f[0].cfg.NodeID)
		l.awaitReady()
		for _, asked := range []*Node{leader, f[1]} {
			if err := asked.RemoveNode(l.within(10*time.Second), leader.cfg.NodeID); !errors.Is(err, ErrRefused) {
				t.Errorf("the leader, while a node is dead: %v", err)
			}
		}
		if now := l.leader(); now != leader {
			t.Errorf("%s leads now", now.cfg.NodeID)
		}
		if err := leader.RemoveNode(l.within(0), f[1].cfg.NodeID); errors.Is(err, ErrRefused) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("without time to ask: %v", err)
		}
	})
}

// What became of a transfer says nothing of the removal that it was for.
func TestARemovalThatWaitsForATransferIsNotDone(t *testing.T) {
	err := removalError("n1", unknown("handing the leadership over to n2: timeout"))
	if errors.Is(err, ErrUnknown) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "handing the leadership over") {
		t.Errorf("unknown: %v", err)
	}
	if err := removalError("n1", ErrRefused); !errors.Is(err, ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if err := removalError("n1", nil); err != nil {
		t.Errorf("done: %v", err)
	}
}

func TestKickNamesEachNodeThatDoesNotAnswer(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		leader, f := l.leader(), l.followers()
		l.kill(f[0].cfg.NodeID)
		l.kill(f[1].cfg.NodeID)
		user, err := protocol.ParseAddress("alice@example.com")
		must(t, err)
		_, err = leader.Kick(l.within(time.Second), user, nil)
		for _, n := range f {
			if err == nil || !strings.Contains(err.Error(), "node "+n.cfg.NodeID) {
				t.Errorf("%v does not name %s", err, n.cfg.NodeID)
			}
		}
	})
}
