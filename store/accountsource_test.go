package store

import (
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// Tables of which one knows another source of an account, or that it has left
// it, have different digests.
func TestDigestCoversSources(t *testing.T) {
	digests := map[[32]byte]string{}
	for name, record := range map[string]*storev1.Account{
		"the table":    {},
		"a source":     {Source: "corp"},
		"another":      {Source: "club"},
		"disabled":     {Source: "corp", Disabled: true},
		"has left":     {Source: "corp", Disabled: true, LeftSource: true},
		"no source":    {Disabled: true},
		"a long story": {Source: "corp", Disabled: true, LeftSource: true, LastDisabled: 7},
	} {
		record.Address, record.Verifier = "bob@example.com", verifierOfOne(1)
		table := siteOfTwo(t, NewestSchema)
		a, ok := accountFromProto(record, NewestSchema)
		if !ok {
			t.Fatalf("%s: refused", name)
		}
		table.current.accounts.set("bob@example.com", a)
		digest := table.View().Digest()
		if other, same := digests[digest]; same {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		digests[digest] = name
	}
}

// Records of sources are read from schema 4 on, and only if they make sense.
func TestRecordsOfSources(t *testing.T) {
	read := func(r *storev1.Account, schema uint32) (*Account, bool) {
		r.Address, r.Verifier = "bob@example.com", verifierOfOne(1)
		return accountFromProto(r, schema)
	}
	if a, ok := read(&storev1.Account{Source: "corp"}, sourceSchema-1); !ok || a.Source() != "" {
		t.Errorf("before schema 4: %v", ok)
	}
	if a, ok := read(&storev1.Account{Source: "corp", Disabled: true, LeftSource: true}, sourceSchema); !ok || a.Source() != "corp" || !a.HasLeftSource() {
		t.Errorf("it is not read: %v", ok)
	}
	for name, r := range map[string]*storev1.Account{
		"left, and not disabled": {Source: "corp", LeftSource: true},
		"left no source":         {Disabled: true, LeftSource: true},
		"a long name":            {Source: string(make([]byte, maxName+1))},
	} {
		if _, ok := read(r, sourceSchema); ok {
			t.Errorf("%s: it is read", name)
		}
	}
}
