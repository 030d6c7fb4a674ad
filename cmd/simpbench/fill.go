//go:build linux

package main

import (
	"fmt"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// filler puts bindings straight into a table, in entries as big as a busy
// site's.
type filler struct {
	table   *store.Table
	epochs  []uint64 // of the nodes n1, n2 …
	longest time.Duration
	batches uint64
}

// eachEntry is the number of changes in an entry.
const eachEntry = 128

// newFiller returns an empty table on so many nodes.
func newFiller(nodes int) (*filler, error) {
	f := &filler{table: store.New(store.Config{})}
	for n := range nodes {
		up := &storev1.NodeUp{Node: nodeID(n), Incarnation: 1, Version: "bench", MinSchema: store.OldestSchema, MaxSchema: store.NewestSchema}
		r, err := f.apply(&storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: up}})
		if err != nil {
			return nil, err
		}
		f.epochs = append(f.epochs, r[0].Epoch)
	}
	return f, nil
}

// apply applies changes as one entry, and remembers the longest that one took.
func (f *filler) apply(changes ...*storev1.Change) ([]store.Result, error) {
	f.batches++
	e := &storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Origin: "n1", Incarnation: 1, Number: f.batches,
		TimeMs: time.Now().UnixMilli(), Change: changes}}}
	began := time.Now()
	results, err := f.table.Apply(e)
	f.longest = max(f.longest, time.Since(began))
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	for _, r := range results[0].Results {
		if r.Refusal != store.None {
			return nil, fmt.Errorf("apply: %s: %s", r.Refusal, r.Detail)
		}
	}
	return results[0].Results, nil
}

// each applies one change for each of n users.
func (f *filler) each(n int, change func(user int) *storev1.Change) error {
	changes := make([]*storev1.Change, 0, eachEntry)
	for user := range n {
		changes = append(changes, change(user))
		if len(changes) == eachEntry || user == n-1 {
			if _, err := f.apply(changes...); err != nil {
				return err
			}
			changes = changes[:0]
		}
	}
	return nil
}

// address is as long as people's are; neighbours in number are not neighbours
// in order.
func address(user int) string { return fmt.Sprintf("user%010d@"+domain, uint32(user)*2654435761) }

func parsed(user int) protocol.Address { return protocol.CanonicalAddress(address(user)) }

func (f *filler) account(user int) *storev1.Change {
	key := []byte(fmt.Sprintf("%-32d", user))
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: address(user), Mode: storev1.PutAccount_MODE_CREATE,
		Verifier: &storev1.Verifier{Salt: key[:16], Iterations: 10_000, StoredKey: key, ServerKey: key}}}}
}

// session is that of a user, on the nodes in turn.
func (f *filler) session(user int) (s *storev1.Session, epoch uint64) {
	n := user % len(f.epochs)
	return &storev1.Session{Node: nodeID(n), Epoch: f.epochs[n], Number: uint64(user)}, f.epochs[n]
}

func (f *filler) bind(user int) *storev1.Change {
	s, epoch := f.session(user)
	return &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: address(user), Session: s, Epoch: epoch, State: storev1.State_STATE_AVAILABLE,
		Agent: "bench/1", Client: "192.0.2.1:50000", Credential: f.table.Index()}}}
}

// away makes a user of n change between two states, round after round.
func (f *filler) away(user, round int) *storev1.Change {
	s, epoch := f.session(user)
	states := [2]storev1.State{storev1.State_STATE_AWAY, storev1.State_STATE_AVAILABLE}
	return &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
		Address: address(user), Session: s, Epoch: epoch, State: states[round%2]}}}
}
