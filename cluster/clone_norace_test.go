//go:build !race

package cluster

import (
	"fmt"
	"testing"
	"time"
)

// Raft itself reads a server's entry without its lock while the address in it is
// changed (updateLastAppended and startStopReplication of hashicorp/raft 1.8.0),
// which the race detector finds in this test now and then.

// TestACopyOfASiteThatWasApart: a copied site that came up where it did not reach
// the original is another site. Where the two meet, neither harms the other, also
// not while their nodes are started again.
func TestACopyOfASiteThatWasApart(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		between(l, s, l.network.Cut)
		s.copyData(l, "n1", "n2", "n3")
		s.start("n1", "n2", "n3")
		s.awaitReady()
		s.eventually("they know where they are", func() bool {
			follower := s.followers()[0].cfg.NodeID
			at, _ := s.leader().server(follower)
			return string(at.Address) == s.host(follower)+":7470"
		})
		between(l, s, l.network.Heal)
		s.joins(l)
		l.undisturbed(30 * time.Second)
		for _, id := range []string{"n1", "n2", "n3"} {
			l.kill(id)
			<-time.After(20 * time.Second)
			l.start(id)
			l.undisturbed(10 * time.Second)
			s.kill(id)
			<-time.After(20 * time.Second)
			s.start(id)
			l.undisturbed(10 * time.Second)
		}
		s.awaitReady()
	})
}

// between does something to each way between the hosts of two labs.
func between(a, b *lab, do func(from, to string)) {
	for i := range 3 {
		for j := range 3 {
			one, two := a.host(fmt.Sprint("n", i+1)), b.host(fmt.Sprint("n", j+1))
			do(one, two)
			do(two, one)
		}
	}
}
