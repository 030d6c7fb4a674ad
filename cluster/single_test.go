package cluster

import (
	"fmt"
	"sync"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

func TestOneNodeIsASite(t *testing.T) {
	n := start(t, single(t))
	epoch := awaitUp(t, n)
	if err := n.Ready(); err != nil {
		t.Fatal(err)
	}
	if n.Epoch() != epoch || n.QuorumLostFor() != 0 || n.table.History() == "" || len(n.table.Secret()) == 0 {
		t.Errorf("epoch %d, contact %v, history %q", n.Epoch(), n.QuorumLostFor(), n.table.History())
	}
	r := propose(t, n, account("alice@example.com"), contact("alice@example.com", "bob@example.com", "Bob"))
	if len(r) != 2 || r[1].Index != r[0].Index+1 || n.Position().Index != r[1].Index {
		t.Errorf("results %+v at %+v", r, n.Position())
	}
	if err := n.ReadBarrier(within(t)); err != nil {
		t.Error(err)
	}
	if err := n.Applied(within(t), r[1].Index, nil); err != nil {
		t.Error(err)
	}
}

func TestDataOutlivesTheNode(t *testing.T) {
	c := single(t)
	first := start(t, c)
	old := awaitUp(t, first)
	propose(t, first, account("alice@example.com"))
	history := first.table.History()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c.Table, c.Receiver = store.New(store.Config{}), newReceiver()
	again := start(t, c)
	epoch := awaitUp(t, again)
	if _, ok := again.table.Account(address(t, "alice@example.com")); !ok {
		t.Error("the account is gone")
	}
	if epoch <= old || again.table.History() != history {
		t.Errorf("epoch %d after %d, history %s after %s", epoch, old, again.table.History(), history)
	}
}

func TestShutdownEndsTheEpoch(t *testing.T) {
	c := single(t)
	n := start(t, c)
	awaitUp(t, n)
	if err := n.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	if node, ok := c.Table.Node("n1"); !ok || !node.Down {
		t.Errorf("the node's record is %+v", node)
	}
	if _, err := n.Propose(within(t), account("alice@example.com")); err == nil {
		t.Error("a node that has shut down takes a change")
	}
}

func TestManyProposeAtOnce(t *testing.T) {
	n := start(t, single(t))
	awaitUp(t, n)
	propose(t, n, account("alice@example.com"))
	before := n.table.Index()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 15 {
				propose(t, n, contact("alice@example.com", fmt.Sprintf("u%d-%d@example.com", i, j), "x"))
			}
		})
	}
	wg.Wait()
	if got := n.table.Index() - before; got != 960 {
		t.Errorf("%d changes", got)
	}
	if got := n.raft.LastIndex(); got > 900 {
		t.Errorf("%d entries for 960 changes: they are not gathered", got)
	}
}

func TestManyChangesOfOneCallKeepTheirOrder(t *testing.T) {
	n := start(t, single(t))
	awaitUp(t, n)
	changes := []*storev1.Change{account("alice@example.com")}
	for i := range 900 {
		changes = append(changes, contact("alice@example.com", fmt.Sprintf("u%d@example.com", i), "x"))
	}
	results := propose(t, n, changes...)
	if len(results) != len(changes) {
		t.Fatalf("%d results for %d changes", len(results), len(changes))
	}
	for i := 1; i < len(results); i++ {
		if results[i].Index != results[i-1].Index+1 {
			t.Fatalf("change %d has index %d after %d", i, results[i].Index, results[i-1].Index)
		}
	}
}

func TestARefusalIsAResult(t *testing.T) {
	n := start(t, single(t))
	awaitUp(t, n)
	results, err := n.Propose(within(t), contact("nobody@example.com", "bob@example.com", "Bob"))
	if err != nil || len(results) != 1 || results[0].Refusal != store.NoAccount {
		t.Errorf("%+v, %v", results, err)
	}
}
