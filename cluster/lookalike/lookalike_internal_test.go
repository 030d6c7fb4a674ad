package lookalike

import (
	"fmt"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// accounts is a table and what changes its accounts.
type accounts struct {
	*testing.T
	table *store.Table
	n     uint64
}

func newAccounts(t *testing.T) *accounts {
	return &accounts{T: t, table: store.New(store.Config{})}
}

func (a *accounts) apply(c *storev1.Change) {
	a.Helper()
	a.n++
	results, err := a.table.Apply(&storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{
		{Origin: "n1", Incarnation: 1, Number: a.n, TimeMs: 1_795_000_000_000, Change: []*storev1.Change{c}},
	}})
	if err != nil || results[0].Results[0].Refusal != store.None {
		a.Fatalf("%v, %v", results, err)
	}
}

func (a *accounts) add(user string) {
	a.Helper()
	a.apply(&storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: user, Mode: storev1.PutAccount_MODE_CREATE, Verifier: &storev1.Verifier{
			Salt: make([]byte, 16), Iterations: 4096, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32),
		},
	}}})
}

func (a *accounts) delete(user string) {
	a.Helper()
	a.apply(&storev1.Change{Kind: &storev1.Change_DeleteAccount{DeleteAccount: &storev1.DeleteAccount{Address: user}}})
}

const cyrillicPaypal = "\u0440\u0430\u0443\u0440\u0430l@example.com" // but for the l

func TestLookalikesFollowTheTable(t *testing.T) {
	a := newAccounts(t)
	l := New(a.table)
	expect := func(user, want string) {
		t.Helper()
		if got := l.Find(protocol.CanonicalAddress(user)).String(); got != want {
			t.Errorf("%s looks like %q, want %q", user, got, want)
		}
	}
	expect(cyrillicPaypal, "") // on an empty site
	a.add("paypal@example.com")
	expect(cyrillicPaypal, "paypal@example.com")
	expect("\u0440\u0430\u0443\u0440\u0430l@example.net", "")
	expect("paypal@example.com", "") // itself
	a.delete("paypal@example.com")
	expect(cyrillicPaypal, "")
	a.add("paypal@example.com")
	expect(cyrillicPaypal, "paypal@example.com")
	for i := range 2 * eventsAtOnce {
		a.add(fmt.Sprintf("user%d@example.com", i))
	}
	a.add("\u0434\u043c\u0438\u0442\u0440\u0438\u0439@example.com")
	expect(cyrillicPaypal, "paypal@example.com")
	expect("user7@example.com", "")
	expect("user1O@example.com", "user10@example.com")
}
