package cluster

import (
	"errors"
	"testing"
	"time"
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
