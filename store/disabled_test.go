package store

import (
	"slices"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// A disabled user changes nothing, as soon as all nodes refuse it alike.
func TestADisabledUserChangesNothing(t *testing.T) {
	for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
		table, made := siteWithBob(t, schema)
		table.setDisabled(&storev1.SetDisabled{Address: "bob@example.com", Disabled: true})
		want := None
		if schema >= disabledSchema {
			want = Disabled
		}
		for name, got := range map[string]Result{
			"password": table.putAccount(&storev1.PutAccount{
				Address: "bob@example.com", Mode: storev1.PutAccount_MODE_REPLACE, IfCredential: made.Credential, Verifier: verifierOfOne(2),
			}),
			"rule":    table.setRule(&storev1.SetRule{Owner: "bob@example.com", Pattern: "*", Message: storev1.Permission_PERMISSION_DENY}),
			"contact": table.setContact(&storev1.SetContact{Owner: "bob@example.com", Address: "alice@example.com"}),
		} {
			if got.Refusal != want {
				t.Errorf("schema %d, %s: %v, want %v", schema, name, got.Refusal, want)
			}
		}
		if r := table.putAccount(&storev1.PutAccount{Address: "bob@example.com", Mode: storev1.PutAccount_MODE_REPLACE, Verifier: verifierOfOne(3)}); r.Refusal != None {
			t.Errorf("schema %d: an operator can't change the password: %v", schema, r.Refusal)
		}
	}
}

// What a login before the disabling allows stays ended when the account is
// enabled again, as soon as all nodes refuse it alike.
func TestDisablingEndsEarlierLoginsForGood(t *testing.T) {
	for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
		table, made := siteWithBob(t, schema)
		for _, disabled := range []bool{true, false} {
			table.setDisabled(&storev1.SetDisabled{Address: "bob@example.com", Disabled: disabled})
		}
		enabled, _ := table.current.accounts.get("bob@example.com")
		node, _ := table.Node("n1")
		bind := func(credential uint64) Refusal {
			return table.bindSession(&storev1.Bind{
				Address: "bob@example.com", Session: &storev1.Session{Node: "n1", Epoch: node.Epoch, Number: 1}, Epoch: node.Epoch,
				State: storev1.State_STATE_AVAILABLE, Credential: credential,
			}).Refusal
		}
		put := func(credential uint64, password byte) Refusal {
			return table.putAccount(&storev1.PutAccount{
				Address: "bob@example.com", Mode: storev1.PutAccount_MODE_REPLACE, IfCredential: credential, Verifier: verifierOfOne(password),
			}).Refusal
		}
		got := []Refusal{bind(made.Generation()), put(made.Generation(), 2), bind(enabled.Generation()), put(enabled.Generation(), 3)}
		want := []Refusal{None, None, OldCredential, Stale} // the password is changed
		if schema >= disabledSchema {
			want = []Refusal{OldCredential, Stale, None, None}
		}
		if !slices.Equal(got, want) {
			t.Errorf("schema %d: %v, want %v", schema, got, want)
		}
	}
}

// siteWithBob returns a table with the account bob@example.com.
func siteWithBob(t *testing.T, schema uint32) (*Table, *Account) {
	t.Helper()
	table := siteOfTwo(t, schema)
	table.putAccount(&storev1.PutAccount{Address: "bob@example.com", Mode: storev1.PutAccount_MODE_CREATE, Verifier: verifierOfOne(1)})
	bob, _ := table.current.accounts.get("bob@example.com")
	return table, bob
}

// verifierOfOne returns a verifier of which all octets are n.
func verifierOfOne(n byte) *storev1.Verifier {
	return &storev1.Verifier{Salt: print(n)[:16], Iterations: 10_000, StoredKey: print(n), ServerKey: print(n)}
}
