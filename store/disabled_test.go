package store

import (
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// A disabled user changes nothing, as soon as all nodes refuse it alike.
func TestADisabledUserChangesNothing(t *testing.T) {
	for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
		table := siteOfTwo(t, schema)
		verifier := func(n byte) *storev1.Verifier {
			return &storev1.Verifier{Salt: print(n)[:16], Iterations: 10_000, StoredKey: print(n), ServerKey: print(n)}
		}
		table.putAccount(&storev1.PutAccount{Address: "bob@example.com", Mode: storev1.PutAccount_MODE_CREATE, Verifier: verifier(1)})
		made, _ := table.now.accounts.get("bob@example.com")
		table.setDisabled(&storev1.SetDisabled{Address: "bob@example.com", Disabled: true})
		want := None
		if schema >= lockOutSchema {
			want = Disabled
		}
		for name, got := range map[string]Result{
			"password": table.putAccount(&storev1.PutAccount{
				Address: "bob@example.com", Mode: storev1.PutAccount_MODE_REPLACE, IfCredential: made.Credential, Verifier: verifier(2),
			}),
			"rule":    table.setRule(&storev1.SetRule{Owner: "bob@example.com", Pattern: "*", Message: storev1.Permission_PERMISSION_DENY}),
			"contact": table.setContact(&storev1.SetContact{Owner: "bob@example.com", Address: "alice@example.com"}),
		} {
			if got.Refusal != want {
				t.Errorf("schema %d, %s: %v, want %v", schema, name, got.Refusal, want)
			}
		}
		if r := table.putAccount(&storev1.PutAccount{Address: "bob@example.com", Mode: storev1.PutAccount_MODE_REPLACE, Verifier: verifier(3)}); r.Refusal != None {
			t.Errorf("schema %d: an operator can't change the password: %v", schema, r.Refusal)
		}
	}
}
