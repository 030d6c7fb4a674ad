package store

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
)

func deviceOf(seed int) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(seed), byte(seed >> 8)}, ed25519.SeedSize/2)).Public().(ed25519.PublicKey)
}

func addKeyOf(t *Table, seed int) Result {
	return t.addKey(&storev1.AddKey{Address: "bob@example.com", Key: deviceOf(seed)})
}

// A list has at most 16 live keys, and 256 in all, however many are revoked.
func TestListsOfKeysAreLimited(t *testing.T) {
	table, _ := siteWithBob(t, NewestSchema)
	for seed := range signature.MaxKeys {
		if seed >= signature.MaxLiveKeys {
			if r := addKeyOf(table, seed); r.Refusal != TooManyKeys {
				t.Fatalf("one more live key, %d: %+v", seed, r)
			}
			r := table.revokeKey(&storev1.RevokeKey{Address: "bob@example.com", KeyId: signature.KeyID(deviceOf(seed - 1))})
			if !r.Applied {
				t.Fatalf("revoke %d: %+v", seed-1, r)
			}
		}
		if r := addKeyOf(table, seed); !r.Applied {
			t.Fatalf("key %d: %+v", seed, r)
		}
	}
	table.revokeKey(&storev1.RevokeKey{Address: "bob@example.com", KeyId: signature.KeyID(deviceOf(0))})
	if r := addKeyOf(table, signature.MaxKeys); r.Refusal != TooManyKeys {
		t.Errorf("one more key: %+v", r)
	}
}

func TestInvalidKeysAreRefused(t *testing.T) {
	table, _ := siteWithBob(t, NewestSchema)
	long := string(bytes.Repeat([]byte{'x'}, protocol.MaxNote+1))
	for what, c := range map[string]*storev1.AddKey{
		"small order":     {Key: make([]byte, 32)},
		"short":           {Key: deviceOf(1)[1:]},
		"a long name":     {Key: deviceOf(1), Name: long},
		"proof of nobody": {Key: deviceOf(1), Proof: make([]byte, 64)},
		"by, no proof":    {Key: deviceOf(1), By: "x"},
	} {
		c.Address = "bob@example.com"
		if r := table.addKey(c); r.Refusal != Malformed {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// The list that the table keeps is one that clients accept, and its head
// changes with each record.
func TestClientsAcceptTheTablesList(t *testing.T) {
	table, _ := siteWithBob(t, NewestSchema)
	table.batchTime = fromMilli(1)
	seen := map[signature.Head]bool{{}: true}
	check := func() {
		t.Helper()
		bob, _ := table.current.accounts.get("bob@example.com")
		if _, err := signature.NewKeyList("bob@example.com", bob.Keys(), bob.KeyHead()); err != nil || seen[bob.KeyHead()] {
			t.Errorf("%v, head %v", err, bob.KeyHead())
		}
		seen[bob.KeyHead()] = true
	}
	for seed := range 3 {
		addKeyOf(table, seed)
		check()
	}
	table.revokeKey(&storev1.RevokeKey{Address: "bob@example.com", KeyId: signature.KeyID(deviceOf(1)), ByOperator: true})
	check()
}

// A backup brings the keys back with the same head, from schema 4 on.
func TestBackupsRestoreKeys(t *testing.T) {
	from, _ := siteWithBob(t, NewestSchema)
	addKeyOf(from, 1)
	addKeyOf(from, 2)
	from.revokeKey(&storev1.RevokeKey{Address: "bob@example.com", KeyId: signature.KeyID(deviceOf(1))})
	bob, _ := from.current.accounts.get("bob@example.com")
	for schema := uint32(OldestSchema); schema <= NewestSchema; schema++ {
		table := siteOfTwo(t, schema)
		r := table.restoreAccounts(&storev1.RestoreAccounts{First: true, Last: true, Record: []*storev1.Record{accountProto(bob)}})
		if r.Refusal != None {
			t.Fatalf("schema %d: %+v", schema, r)
		}
		restored, _ := table.current.accounts.get("bob@example.com")
		if schema < keySchema {
			if len(restored.Keys()) > 0 {
				t.Errorf("schema %d has keys", schema)
			}
			continue
		}
		if restored.KeyHead() != bob.KeyHead() || restored.Keys()[1].Index != table.current.index {
			t.Errorf("restored: %+v", restored.Keys())
		}
	}
}

// Snapshots with lists that no table could have made are refused.
func TestDamagedKeysAreRefused(t *testing.T) {
	record := func(seed, as, revokedAs int) *storev1.Key {
		return &storev1.Key{Key: deviceOf(seed), AddedAs: uint32(as), RevokedAs: uint32(revokedAs)}
	}
	many := make([]*storev1.Key, signature.MaxLiveKeys+1)
	for i := range many {
		many[i] = record(i, i+1, 0)
	}
	for what, list := range map[string][]*storev1.Key{
		"too many": many, "twice": {record(1, 1, 0), record(1, 2, 0)}, "in no order": {record(1, 2, 0), record(2, 1, 0)},
		"a gap": {record(1, 1, 0), record(2, 3, 0)}, "revoked before added": {record(1, 1, 2), record(2, 3, 1)},
		"no key": {{AddedAs: 1}},
	} {
		if _, ok := accountFromProto(&storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), Key: list}, NewestSchema); ok {
			t.Errorf("%s: accepted", what)
		}
	}
}

// The digest covers every field of a key.
func TestDigestCoversKeys(t *testing.T) {
	seen := map[[32]byte]string{}
	for what, change := range map[string]func(k *storev1.Key){
		"nothing":    func(*storev1.Key) {},
		"key":        func(k *storev1.Key) { k.Key = deviceOf(7) },
		"name":       func(k *storev1.Key) { k.Name = "x" },
		"created":    func(k *storev1.Key) { k.CreatedMs++ },
		"by":         func(k *storev1.Key) { k.By = "x" },
		"proof":      func(k *storev1.Key) { k.Proof = []byte{1} },
		"index":      func(k *storev1.Key) { k.Index++ },
		"revoked":    func(k *storev1.Key) { k.RevokedAs = 2 },
		"revoked at": func(k *storev1.Key) { k.RevokedAs, k.RevokedMs = 2, 9 },
		"revoked by": func(k *storev1.Key) { k.RevokedAs, k.RevokedByOperator = 2, true },
	} {
		k := &storev1.Key{Key: deviceOf(1), AddedAs: 1}
		change(k)
		a, ok := accountFromProto(&storev1.Account{Address: "bob@example.com", Verifier: verifierOfOne(1), Key: []*storev1.Key{k}}, NewestSchema)
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
