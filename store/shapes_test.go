package store_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// shaped is a change that gives address a verifier of a shape.
func shaped(address string, salt int, iterations uint32) *storev1.Change {
	c := setList(address)
	v := c.GetPutAccount()
	v.Mode = storev1.PutAccount_MODE_UPSERT
	v.Verifier.Salt, v.Verifier.Iterations = bytes.Repeat([]byte{1}, salt), iterations
	return c
}

// counted counts the shapes of all accounts one by one.
func counted(t *store.Table) (all []store.ShapeCount) {
	counts := map[store.VerifierShape]int{}
	t.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		counts[store.VerifierShape{Salt: len(a.Verifier.Salt), Iterations: a.Verifier.Iterations}]++
		return true
	})
	for shape, n := range counts {
		all = append(all, store.ShapeCount{VerifierShape: shape, Accounts: n})
	}
	slices.SortFunc(all, func(a, b store.ShapeCount) int {
		if a.Salt != b.Salt {
			return a.Salt - b.Salt
		}
		return int(a.Iterations) - int(b.Iterations)
	})
	return all
}

func TestVerifierShapesFollowTheAccounts(t *testing.T) {
	s := newSite(t, store.Config{})
	check := func(when string, want int) {
		t.Helper()
		got := s.VerifierShapes()
		if !reflect.DeepEqual(got, counted(s.Table)) || len(got) != want {
			t.Errorf("%s: %v, want %v", when, got, counted(s.Table))
		}
	}
	check("without accounts", 0)
	s.apply(shaped("a@example.com", 16, 4096), shaped("b@example.com", 16, 4096), shaped("c@example.com", 12, 10_000))
	check("made", 2)
	s.apply(shaped("a@example.com", 64, 100_000))
	check("a new password", 3)
	s.apply(shaped("b@example.com", 64, 100_000))
	check("another one", 2)
	s.apply(&storev1.Change{Kind: &storev1.Change_DeleteAccount{DeleteAccount: &storev1.DeleteAccount{Address: "c@example.com"}}})
	check("deleted", 1)

	var octets bytes.Buffer
	if _, err := s.Snapshot().WriteTo(&octets); err != nil {
		t.Fatal(err)
	}
	other := store.New(store.Config{})
	if err := other.Restore(&octets); err != nil {
		t.Fatal(err)
	}
	if got := other.VerifierShapes(); !reflect.DeepEqual(got, counted(s.Table)) {
		t.Errorf("from a snapshot: %v", got)
	}
	record := func(address string, salt int) *storev1.Record {
		v := shaped(address, salt, 5000).GetPutAccount().Verifier
		return &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{Address: address, Verifier: v, Credential: 3}}}
	}
	restore := func(first, last bool, records ...*storev1.Record) {
		s.apply(&storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: &storev1.RestoreAccounts{First: first, Last: last, Record: records}}})
	}
	restore(true, false, record("x@example.com", 16), record("y@example.com", 20))
	check("a piece of a backup", 2)
	restore(false, true, record("y@example.com", 24), record("z@example.com", 16))
	check("a backup", 2)
}

// The most frequent ones are told, however many there are.
func TestVerifierShapesAreBounded(t *testing.T) {
	s := newSite(t, store.Config{})
	for i := range uint32(store.MaxShapes + 20) {
		s.apply(shaped(user(int(i)), 16, 4096+i))
	}
	s.apply(shaped(user(1000), 16, 4096), shaped(user(1001), 16, 4096+store.MaxShapes+19))
	got := s.VerifierShapes()
	if len(got) != store.MaxShapes || got[0].Iterations != 4096 || got[0].Accounts != 2 || got[len(got)-1].Iterations != 4096+store.MaxShapes+19 {
		t.Errorf("%d shapes, from %v to %v", len(got), got[0], got[len(got)-1])
	}
}
