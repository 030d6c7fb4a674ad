package cluster

import (
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
)

// A node whose table is no longer what the log says finds out, serves nobody,
// and takes over another's.
func TestWrongTableIsHealed(t *testing.T) {
	for _, leads := range []bool{false, true} {
		inLab(t, func(t *testing.T, l *lab) {
			l.expect = 3
			l.dir = t.TempDir()
			l.start("n1", "n2", "n3")
			l.awaitReady()
			propose(t, l.nodes["n1"], account("alice@example.com"))
			sick := l.nodes["n1"]
			for _, n := range l.nodes {
				if n.leadership.isEstablished() == leads {
					sick = n
				}
			}
			before := sick.table.View().Digest()
			spoil(t, sick)
			if sick.table.View().Digest() == before {
				t.Fatal("the table was not spoiled")
			}
			sums := func() map[[32]byte]bool {
				all := map[[32]byte]bool{}
				for _, n := range l.nodes {
					all[n.table.View().Digest()] = true
				}
				return all
			}
			for range 600 {
				<-time.After(100 * time.Millisecond)
				if sick.consistency.repairs.Load() > 0 {
					break
				}
			}
			propose(t, l.nodes["n2"], account("carol@example.com"))
			l.awaitReady()
			for _, n := range l.nodes {
				if err := n.ReadBarrier(l.within(time.Second)); err != nil {
					t.Error(err)
				}
			}
			if len(sums()) != 1 {
				t.Error("the tables still differ")
			}
			for _, n := range l.nodes {
				if n != sick && n.consistency.repairs.Load() > 0 {
					t.Error("a healthy node took over another's table")
				}
			}
			if got := sick.consistency.repairs.Load(); got != 1 {
				t.Errorf("healed %d times", got)
			}
		})
	}
}

// spoil changes a node's table behind the log's back, as a bad memory would.
func spoil(t *testing.T, n *Node) {
	t.Helper()
	n.fsm.applyMu.Lock()
	defer n.fsm.applyMu.Unlock()
	_, err := n.table.Apply(&storev1.Entry{MinSchema: minSchema, Batch: []*storev1.Batch{{
		Origin: "nobody", Change: []*storev1.Change{account("mallory@example.com")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

// While its table is wrong a node says so, and says nothing of presence.
func TestWrongTableIsNotServed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 3
		l.start("n1", "n2", "n3")
		l.awaitReady()
		n := l.nodes["n1"]
		n.consistency.isWrong.Store(true)
		if err := n.Ready(); err == nil {
			t.Error("it says that it is ready")
		}
		if n.QuorumLostFor() < time.Minute {
			t.Error("it says that it is in touch with the majority")
		}
		if err := n.writeTable(t.Context(), 0, nil); err == nil {
			t.Error("it gives copies of its table")
		}
		n.consistency.isWrong.Store(false)
	})
}
