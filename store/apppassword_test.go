package store

import (
	"bytes"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// A session of an app password ends when the accounts are restored from a
// backup, although the backup holds the app password. Before schema 3 a backup
// brings none, as older versions would not know them.
func TestBackupsRestoreAppPasswords(t *testing.T) {
	for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
		table := siteOfTwo(t, schema)
		record := &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{
			Address: "bob@example.com", Verifier: verifierOfOne(1), AppPassword: []*storev1.AppPassword{appRecord(900, 2), appRecord(901, 3)},
		}}}
		r := table.restoreAccounts(&storev1.RestoreAccounts{First: true, Last: true, Record: []*storev1.Record{record}})
		if r.Refusal != None {
			t.Fatalf("schema %d: %+v", schema, r)
		}
		bob, _ := table.current.accounts.get("bob@example.com")
		if schema < appPasswordSchema {
			if len(bob.AppPasswords()) > 0 {
				t.Errorf("schema %d has app passwords", schema)
			}
			continue
		}
		if p := bob.AppPassword(901); len(bob.AppPasswords()) != 2 || p == nil || p.Credential != table.current.index {
			t.Errorf("restored: %+v", bob.AppPasswords())
		}
		// The index has not come to the ids of the backup yet.
		added := table.addAppPassword(&storev1.AddAppPassword{Address: "bob@example.com", Name: "new", Verifier: appVerifier(4)})
		if added.AppPassword != 902 {
			t.Errorf("added: %+v", added)
		}
	}
}

// Before schema 3 a backup is restored whatever it has as app passwords, as by
// older versions. From then on it is refused if they could not be a table's,
// or have IDs that leave none for new ones.
func TestBackupsWithDamagedAppPasswords(t *testing.T) {
	for what, list := range map[string][]*storev1.AppPassword{
		"twice": {appRecord(2, 1), appRecord(2, 2)}, "far": {appRecord(maxIndex+1, 1)}, "as far as can be": {appRecord(2*maxIndex, 1)},
	} {
		for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
			r := siteOfTwo(t, schema).restoreAccounts(&storev1.RestoreAccounts{First: true, Last: true, Record: []*storev1.Record{
				{Kind: &storev1.Record_Account{Account: &storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), AppPassword: list}}},
			}})
			if refused := r.Refusal == Malformed; refused != (schema >= appPasswordSchema) {
				t.Errorf("%s, schema %d: %+v", what, schema, r)
			}
		}
	}
}

// An operator's new verifier removes app passwords also if it has their salt.
// The one that the account has leaves them, and so does the user's own change.
func TestNewVerifierOfTheSameSaltDropsAppPasswords(t *testing.T) {
	for _, tt := range []struct {
		key  byte
		drop bool
		left int
	}{{1, true, 1}, {9, false, 1}, {9, true, 0}} {
		table, bob := siteWithBob(t, NewestSchema)
		table.addAppPassword(&storev1.AddAppPassword{Address: "bob@example.com", Name: "phone", Verifier: appVerifier(2), IfCredential: bob.Generation()})
		r := table.putAccount(&storev1.PutAccount{
			Address: "bob@example.com", Mode: storev1.PutAccount_MODE_UPSERT, Verifier: appVerifier(tt.key), DropAppPasswords: tt.drop,
		})
		bob, _ = table.current.accounts.get("bob@example.com")
		if r.Refusal != None || len(bob.AppPasswords()) != tt.left || !bob.Verifier.equal(appVerifier(tt.key)) {
			t.Errorf("%+v: %+v, and %d are left", tt, r, len(bob.AppPasswords()))
		}
	}
}

// Snapshots with lists that no table could have made are refused.
func TestDamagedAppPasswordsAreRefused(t *testing.T) {
	many := make([]*storev1.AppPassword, protocol.MaxAppPasswords+1)
	for i := range many {
		many[i] = appRecord(uint64(i+1), byte(i))
	}
	nameless, keyless := appRecord(1, 1), appRecord(1, 1)
	nameless.Name, keyless.ServerKey = "", nil
	for what, list := range map[string][]*storev1.AppPassword{
		"too many": many, "twice": {appRecord(2, 1), appRecord(2, 2)}, "in no order": {appRecord(2, 1), appRecord(1, 2)},
		"without a number": {appRecord(0, 1)}, "without a name": {nameless}, "without a key": {keyless},
	} {
		if _, ok := accountFromProto(&storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), AppPassword: list}, NewestSchema); ok {
			t.Errorf("%s: accepted", what)
		}
	}
	disabled := &storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), Disabled: true, AppPassword: many[:1]}
	if _, ok := accountFromProto(disabled, NewestSchema); ok {
		t.Error("of a disabled account: accepted")
	}
}

// The digest covers every field of an app password.
func TestDigestCoversAppPasswords(t *testing.T) {
	change := map[string]func(p *storev1.AppPassword){
		"nothing":    func(*storev1.AppPassword) {},
		"id":         func(p *storev1.AppPassword) { p.Id++ },
		"name":       func(p *storev1.AppPassword) { p.Name += "x" },
		"stored key": func(p *storev1.AppPassword) { p.StoredKey = print(99) },
		"server key": func(p *storev1.AppPassword) { p.ServerKey = print(99) },
		"created":    func(p *storev1.AppPassword) { p.CreatedMs++ },
		"until":      func(p *storev1.AppPassword) { p.UntilMs = 7 },
		"used":       func(p *storev1.AppPassword) { p.Used++ },
		"credential": func(p *storev1.AppPassword) { p.Credential++ },
	}
	seen := map[[32]byte]string{}
	for what, f := range change {
		p := appRecord(5, 1)
		f(p)
		a, ok := accountFromProto(&storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), AppPassword: []*storev1.AppPassword{p}}, NewestSchema)
		if !ok {
			t.Fatal(what)
		}
		v := newView()
		v.accounts.set("bob@example.com", a)
		if other, twice := seen[v.Digest()]; twice {
			t.Errorf("the digest does not tell %s from %s", what, other)
		}
		seen[v.Digest()] = what
	}
}

// HasEnded is true from the moment of Until on.
func TestAppPasswordsEnd(t *testing.T) {
	now := time.UnixMilli(1000)
	for until, want := range map[int64]bool{0: false, 999: true, 1000: true, 1001: false} {
		if p := (AppPassword{Until: untilFromProto(until)}); p.HasEnded(now) != want {
			t.Errorf("until %d: %v", until, !want)
		}
	}
}

// A view keeps the list that it shows, whatever is added or removed later.
func TestViewsKeepAppPasswords(t *testing.T) {
	table, bob := siteWithBob(t, NewestSchema)
	r := table.addAppPassword(&storev1.AddAppPassword{Address: "bob@example.com", Name: "phone", Verifier: appVerifier(2), IfCredential: bob.Generation()})
	table.publish()
	before := table.View()
	table.view = nil
	table.markAppPasswordUsed(&storev1.MarkAppPasswordUsed{Address: "bob@example.com", Id: r.AppPassword, Day: 20000})
	table.removeAppPassword(&storev1.RemoveAppPassword{Address: "bob@example.com", Id: r.AppPassword})
	a, _ := before.Account(protocol.CanonicalAddress("bob@example.com"))
	if p := a.AppPassword(r.AppPassword); p == nil || p.UsedDay != 0 || !bytes.Equal(p.StoredKey, print(2)) {
		t.Errorf("the view shows %+v", a.AppPasswords())
	}
}

// appVerifier returns a verifier of which both keys consist of n, with the
// salt of verifierOfOne(1).
func appVerifier(n byte) *storev1.Verifier {
	return &storev1.Verifier{Salt: print(1)[:16], Iterations: 10_000, StoredKey: print(n), ServerKey: print(n)}
}

func appRecord(id uint64, key byte) *storev1.AppPassword {
	return &storev1.AppPassword{Id: id, Name: "phone", StoredKey: print(key), ServerKey: print(key), CreatedMs: 5, Credential: 3}
}
