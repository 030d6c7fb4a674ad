package cluster

import (
	"fmt"
	"testing"
	"time"
)

// A change takes as long as disk and network take, which is nothing here, and
// waits for no timer of Raft's: neither where it was proposed, nor elsewhere.
func TestACommitIsKnownEverywhereAtOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3", "n4") // the fourth is a replica
		l.awaitReady()
		l.eventually("all have the site's four nodes", func() bool {
			for _, n := range l.nodes {
				if len(n.table.Nodes()) != 4 {
					return false
				}
			}
			return true
		})
		for _, from := range l.nodes {
			for i := range 20 {
				<-time.After(300 * time.Millisecond) // nothing else is under way
				begun := time.Now()
				index := propose(t, from, account(fmt.Sprintf("a%d@%s.example.com", i, from.cfg.NodeID)))[0].Index
				if took := time.Since(begun); took > 5*time.Millisecond {
					t.Errorf("%s: proposed within %v", from.cfg.NodeID, took)
				}
				for _, at := range l.nodes {
					must(t, at.table.Wait(t.Context(), index))
				}
				if took := time.Since(begun); took > 5*time.Millisecond {
					t.Errorf("%s: known to all within %v", from.cfg.NodeID, took)
				}
			}
		}
	})
}
