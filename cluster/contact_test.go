package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// Between the moment at which a leader leads no more and the one at which that
// is noted, Raft says of it when it last heard a leader: long before its own
// reign. It must not send its clients away for that.
func TestALeaderIsInTouchUntilItsReignEnds(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		follower := l.nodes["n1"]
		if follower == l.leader() {
			follower = l.nodes["n2"]
		}
		l.network.Isolate(l.host(follower.cfg.NodeID))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if c := follower.QuorumLostFor(); c < 20*time.Second {
			t.Fatalf("cut off for 30 s, it says %v", c)
		}
		follower.leadership.current.Store(&leaderTerm{})
		defer follower.leadership.current.Store(nil)
		if c := follower.QuorumLostFor(); c != 0 {
			t.Errorf("a leader whose reign is not over says that it has been cut off for %v", c)
		}
	})
}
