package cluster

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// newFSM is an fsm on a table that has a history, and what it says is fatal.
func newFSM(t *testing.T) (*fsm, *error) {
	t.Helper()
	fatal := new(error)
	f := &fsm{
		metrics: new(Metrics),
		table:   store.New(store.Config{}), nodesChanged: new(wait.Broadcast), serversChanged: new(wait.Broadcast),
		onApplied: func(uint64, []store.BatchResult) {}, onRestored: func() {}, fatal: func(err error) { *fatal = err },
	}
	must(t, applyChange(f, 1, 1, 1, &storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: newHistory()}}))
	return f, fatal
}

// applyChange applies an entry of a term with one batch that was meant for another.
func applyChange(f *fsm, index, term, meant uint64, c *storev1.Change) error {
	e := &storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Origin: "n1", Incarnation: 1, Number: index, Term: meant, Change: []*storev1.Change{c}}}}
	err, _ := f.Apply(&raft.Log{Index: index, Term: term, Data: store.EncodeEntry(e)}).(error)
	return err
}

func TestABatchCountsInTheTermItWasMeantForOnly(t *testing.T) {
	f, _ := newFSM(t)
	var told []store.BatchResult
	f.onApplied = func(_ uint64, r []store.BatchResult) { told = append(told, r...) }
	must(t, applyChange(f, 2, 3, 2, account("late@example.com")))
	must(t, applyChange(f, 3, 3, 3, account("good@example.com")))
	if _, ok := f.table.Account(address(t, "late@example.com")); ok {
		t.Error("a batch that was meant for an earlier term is applied")
	}
	if _, ok := f.table.Account(address(t, "good@example.com")); !ok {
		t.Error("a batch of the entry's own term is not applied")
	}
	if len(told) != 1 || told[0].Number != 3 {
		t.Errorf("told: %+v", told)
	}
}

func TestAnUnknownEntryStopsTheNodeBeforeItIsApplied(t *testing.T) {
	for name, data := range map[string][]byte{
		"of a later schema": store.EncodeEntry(&storev1.Entry{MinSchema: 99, Batch: []*storev1.Batch{{Origin: "n1", Incarnation: 1, Number: 1, Change: []*storev1.Change{account("a@example.com")}}}}),
		"of no known kind":  store.EncodeEntry(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Origin: "n1", Incarnation: 1, Number: 1, Change: []*storev1.Change{{}}}}}),
		"damaged":           []byte("nonsense"),
	} {
		t.Run(name, func(t *testing.T) {
			f, fatal := newFSM(t)
			before := f.table.Position()
			if err, _ := f.Apply(&raft.Log{Index: 2, Term: 1, Data: data}).(error); err == nil || *fatal == nil {
				t.Fatalf("response %v, fatal %v", err, *fatal)
			}
			if !strings.Contains((*fatal).Error(), "entry 2 of the log can't be applied") {
				t.Error(*fatal)
			}
			if err := applyChange(f, 3, 1, 1, account("b@example.com")); err == nil || f.table.Position() != before {
				t.Errorf("what follows is applied: %v, %+v after %+v", err, f.table.Position(), before)
			}
			if _, err := f.Snapshot(); err == nil {
				t.Error("a snapshot claims to hold it")
			}
		})
	}
}
