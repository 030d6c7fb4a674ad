package store_test

import (
	"bytes"
	"fmt"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// site is a table with a clock, and short words for changes.
type site struct {
	testing.TB
	*store.Table
	clock  int64
	number uint64
}

func newSite(tb testing.TB, c store.Config) *site {
	return &site{TB: tb, Table: store.New(c), clock: 1_800_000_000_000}
}

// apply applies changes as one batch, a second after the one before.
func (s *site) apply(changes ...*storev1.Change) []store.Result {
	s.Helper()
	s.clock += 1000
	s.number++
	e := &storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{
		{Origin: "n1", Incarnation: 1, Number: s.number, TimeMs: s.clock, Change: changes},
	}}
	results, err := s.Apply(e)
	if err != nil {
		s.Fatal(err)
	}
	return results[0].Results
}

// must applies one change that has to be applied, and returns its result.
func (s *site) must(c *storev1.Change) store.Result {
	s.Helper()
	r := s.apply(c)[0]
	if !r.Applied {
		s.Fatalf("%v was not applied: %s %s", c, r.Refusal, r.Detail)
	}
	return r
}

// up brings a node up and returns its epoch.
func (s *site) up(node string, boot uint64) uint64 {
	s.Helper()
	return s.must(up(node, boot)).Epoch
}

// fill makes n accounts that listen on the nodes in turn, whose epochs are given.
func (s *site) fill(n int, nodes []string, epochs []uint64) {
	s.Helper()
	var changes []*storev1.Change
	for i := range n {
		changes = append(changes, setList(user(i)))
		if len(changes) == 512 || i == n-1 {
			s.apply(changes...)
			changes = changes[:0]
		}
	}
	for i := range n {
		changes = append(changes, bindAt(i, nodes[i%len(nodes)], epochs[i%len(nodes)]))
		if len(changes) == 512 || i == n-1 {
			s.apply(changes...)
			changes = changes[:0]
		}
	}
}

// user is an address of 26 octets; neighbours in i are not neighbours in order.
func user(i int) string {
	return fmt.Sprintf("user%010d@example.com", uint32(i)*2654435761)
}

func address(s string) protocol.Address { return protocol.CanonicalAddress(s) }

func up(node string, boot uint64) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{
		Node: node, Incarnation: boot, Version: "0.1.0", MinSchema: 1, MaxSchema: store.NewestSchema,
	}}}
}

func setList(address string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: address, Verifier: verifier(address), Mode: storev1.PutAccount_MODE_CREATE,
	}}}
}

func verifier(seed string) *storev1.Verifier {
	key := []byte(fmt.Sprintf("%-32.32s", seed))
	return &storev1.Verifier{Salt: key[:16], Iterations: 4096, StoredKey: key, ServerKey: bytes.Clone(key)}
}

func bindAt(i int, node string, epoch uint64) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: user(i), Session: &storev1.Session{Node: node, Epoch: epoch, Number: uint64(i)}, Epoch: epoch,
		State: storev1.State_STATE_AVAILABLE, Agent: "simp/0.1", Client: "192.0.2.1:54321", Credential: 1 << 60,
	}}}
}

func ended(node string, epoch uint64) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_NodeDown{NodeDown: &storev1.NodeDown{Node: node, Epoch: epoch}}}
}

func reap(node string, limit uint32) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_Reap{Reap: &storev1.Reap{Node: node, Limit: limit}}}
}

// users are the addresses of up to 65536 of n users.
func users(n int) []protocol.Address {
	all := make([]protocol.Address, min(n, 1<<16))
	for i := range all {
		all[i] = address(user(i * (n / len(all))))
	}
	return all
}

// release undoes a Bind.
func release(b *storev1.Bind) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{
		Address: b.Address, Session: b.Session, Epoch: b.Epoch,
	}}}
}
