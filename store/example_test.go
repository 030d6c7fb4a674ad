package store_test

import (
	"fmt"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// A node comes up, alice gets an account and listens: three changes, three
// indexes, three events.
func Example() {
	table := store.New(store.Config{})
	results, err := table.Apply(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{
		Origin: "n1", Incarnation: 4711, Number: 1, TimeMs: 1_795_000_000_000,
		Change: []*storev1.Change{up("n1", 4711), setList("alice@example.com"), {Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
			Address: "alice@example.com", Session: &storev1.Session{Node: "n1", Epoch: 1, Number: 1}, Epoch: 1,
			State: storev1.State_STATE_BUSY, Note: "writing", Credential: 2,
		}}}},
	}}})
	if err != nil {
		fmt.Println(err) // the node must stop
		return
	}
	fmt.Println("bound at", results[0].Results[2].FirstBound)
	events, _ := table.Events(0, 10)
	for _, e := range events {
		fmt.Println(e.Index, e.Address, e.After.Presence().State, e.Visible)
	}
	// Output:
	// bound at 3
	// 1  deaf false
	// 2 alice@example.com deaf false
	// 3 alice@example.com busy true
}
