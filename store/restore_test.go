package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// golden returns the records of the golden snapshot, without the trailer.
func golden(t *testing.T) (records []*storev1.Record) {
	_, snapshot := goldenSeeds(t)
	if err := store.ReadSnapshot(bytes.NewReader(snapshot), func(r *storev1.Record) error {
		records = append(records, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return records
}

// written is a snapshot of these records, with a trailer that fits.
func written(records []*storev1.Record) []byte {
	b := []byte("SIMPSNAP")
	add := func(r *storev1.Record) {
		octets, _ := proto.Marshal(r)
		b = append(binary.AppendUvarint(b, uint64(len(octets))), octets...)
	}
	for _, r := range records {
		add(r)
	}
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	add(&storev1.Record{Kind: &storev1.Record_Trailer{Trailer: &storev1.Trailer{Records: uint64(len(records)), Crc32C: sum}}})
	return b
}

func first[T any](t *testing.T, records []*storev1.Record, get func(*storev1.Record) *T) *T {
	i := slices.IndexFunc(records, func(r *storev1.Record) bool { return get(r) != nil })
	if i < 0 {
		t.Fatal("the golden snapshot has no such record")
	}
	return get(records[i])
}

// TestSnapshotInDisorder: sums that fit prove nothing of what they cover.
func TestSnapshotInDisorder(t *testing.T) {
	account, listener, node := (*storev1.Record).GetAccount, (*storev1.Record).GetListener, (*storev1.Record).GetNode
	rules, contacts, event, header := (*storev1.Record).GetRules, (*storev1.Record).GetContacts, (*storev1.Record).GetEvent, (*storev1.Record).GetHeader
	for name, spoil := range map[string]func(r []*storev1.Record) []*storev1.Record{
		"no header":           func(r []*storev1.Record) []*storev1.Record { return r[1:] },
		"nothing":             func(r []*storev1.Record) []*storev1.Record { return nil },
		"two headers":         func(r []*storev1.Record) []*storev1.Record { return slices.Insert(r, 1, r[0]) },
		"an account twice":    func(r []*storev1.Record) []*storev1.Record { return twice(r, account) },
		"a listener twice":    func(r []*storev1.Record) []*storev1.Record { return twice(r, listener) },
		"an event twice":      func(r []*storev1.Record) []*storev1.Record { return twice(r, event) },
		"no last event":       func(r []*storev1.Record) []*storev1.Record { return r[:len(r)-1] },
		"no accounts":         func(r []*storev1.Record) []*storev1.Record { return without(r, account) },
		"no nodes":            func(r []*storev1.Record) []*storev1.Record { return without(r, node) },
		"nobody listens":      func(r []*storev1.Record) []*storev1.Record { return without(r, listener) },
		"a clean node":        func(r []*storev1.Record) []*storev1.Record { first(t, r, node).Dirty = false; return r },
		"a node without name": func(r []*storev1.Record) []*storev1.Record { first(t, r, node).Node = ""; return r },
		"a short key":         func(r []*storev1.Record) []*storev1.Record { first(t, r, account).Verifier.ServerKey = nil; return r },
		"a deaf listener":     func(r []*storev1.Record) []*storev1.Record { first(t, r, listener).Binding = nil; return r },
		"a state that is none": func(r []*storev1.Record) []*storev1.Record {
			first(t, r, listener).Binding[0].State = 7
			return r
		},
		"another's event": func(r []*storev1.Record) []*storev1.Record {
			first(t, r, func(r *storev1.Record) *storev1.Listener { return r.GetEvent().GetAfter() }).Address = "other@x.org"
			return r
		},
		"an empty rule":        func(r []*storev1.Record) []*storev1.Record { first(t, r, rules).Rule[0].Pattern = ""; return r },
		"rules out of order":   func(r []*storev1.Record) []*storev1.Record { slices.Reverse(first(t, r, rules).Rule); return r },
		"a contact of no form": func(r []*storev1.Record) []*storev1.Record { first(t, r, contacts).Contact[0].Address = "x"; return r },
		"an index too far":     func(r []*storev1.Record) []*storev1.Record { first(t, r, header).Index = 1<<64 - 1; return r },
		"a floor above":        func(r []*storev1.Record) []*storev1.Record { first(t, r, header).HistoryFloor = 1 << 40; return r },
	} {
		t.Run(name, func(t *testing.T) {
			table := store.New(store.Config{})
			if err := table.Restore(bytes.NewReader(written(spoil(golden(t))))); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, store.ErrCorrupt)
			}
			if table.View().Digest() != store.New(store.Config{}).View().Digest() {
				t.Error("the table changed")
			}
		})
	}
	if err := store.New(store.Config{}).Restore(bytes.NewReader(written(golden(t)))); err != nil {
		t.Errorf("in order: %v", err)
	}
}

func twice[T any](records []*storev1.Record, get func(*storev1.Record) *T) []*storev1.Record {
	i := slices.IndexFunc(records, func(r *storev1.Record) bool { return get(r) != nil })
	return slices.Insert(records, i, records[i])
}

func without[T any](records []*storev1.Record, get func(*storev1.Record) *T) []*storev1.Record {
	return slices.DeleteFunc(records, func(r *storev1.Record) bool { return get(r) != nil })
}

// TestNewerSnapshots: a format, a schema or a kind of record of later.
func TestNewerSnapshots(t *testing.T) {
	unknown := &storev1.Record{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	format, schema := golden(t), golden(t)
	format[0].GetHeader().Format = 3
	schema[0].GetHeader().Schema = store.NewestSchema + 1
	for name, records := range map[string][]*storev1.Record{
		"format": format, "schema": schema, "kind": slices.Insert(golden(t), 1, unknown),
	} {
		if err := store.New(store.Config{}).Restore(bytes.NewReader(written(records))); !errors.Is(err, store.ErrSchema) {
			t.Errorf("%s: got %v, want %v", name, err, store.ErrSchema)
		}
	}
}

func TestSnapshotPassesErrorsOn(t *testing.T) {
	broken := errors.New("the disk is on fire")
	_, snapshot := goldenSeeds(t)
	for i := 0; i <= len(snapshot); i += 7 {
		r := iotest.OneByteReader(&failingReader{bytes.NewReader(snapshot[:i]), broken})
		if err := store.New(store.Config{}).Restore(r); !errors.Is(err, broken) {
			t.Fatalf("reading fails at %d: got %v", i, err)
		}
	}
	s := newSite(t, store.Config{})
	s.fill(3000, []string{"n1"}, []uint64{s.up("n1", 1)})
	if _, err := s.Snapshot().WriteTo(failingWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("writing fails: got %v", err)
	}
}

type failingReader struct {
	*bytes.Reader
	err error
}

func (r *failingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil {
		err = r.err
	}
	return n, err
}

type failingWriter struct{ err error }

func (w failingWriter) Write(b []byte) (int, error) { return 0, w.err }

// TestBackup takes accounts, rules and contacts of one site to another, piece
// by piece, from a snapshot.
func TestBackup(t *testing.T) {
	s := newSite(t, store.Config{})
	s.fill(100, []string{"n1"}, []uint64{s.up("n1", 1)})
	s.say("rule "+user(1)+" * message=deny presence=allow", "contact "+user(2)+" "+user(3)+" name=Three", "disable "+user(4))
	other := newSite(t, store.Config{})
	other.fill(3, []string{"n1"}, []uint64{other.up("n1", 1)})
	other.say("account stale@x.org", "rule stale@x.org * message=deny")

	var pieces []*storev1.Change
	if err := store.ReadSnapshot(bytes.NewReader(octets(s.Table)), func(r *storev1.Record) error {
		if r.GetAccount() != nil || r.GetRules() != nil || r.GetContacts() != nil {
			pieces = append(pieces, &storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: &storev1.RestoreAccounts{
				First: len(pieces) == 0, Record: []*storev1.Record{r},
			}}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	pieces[len(pieces)-1].GetRestoreAccounts().Last = true
	for _, c := range pieces[:len(pieces)-1] {
		other.must(c)
	}
	if !other.View().Restoring() {
		t.Error("the restore is at its end before its end")
	}
	other.must(pieces[len(pieces)-1])

	accounts, listeners := other.View().Len()
	if accounts != 100 || listeners != 0 || other.View().Restoring() {
		t.Errorf("%d accounts, %d listen", accounts, listeners)
	}
	other.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		was, ok := s.Account(a.Address)
		if !ok || !reflect.DeepEqual(was.Verifier, a.Verifier) || was.Disabled != a.Disabled || a.Credential <= 4 {
			t.Errorf("%+v was %+v", a, was)
		}
		return true
	})
	for i := range 100 {
		a := address(user(i))
		if !slices.Equal(s.Rules(a), other.Rules(a)) || !slices.Equal(s.Contacts(a), other.Contacts(a)) {
			t.Errorf("%s has %v %v, had %v %v", a, other.Rules(a), other.Contacts(a), s.Rules(a), s.Contacts(a))
		}
	}
	// What belongs to nobody is refused, and the whole piece with it.
	c := pieces[0]
	c.GetRestoreAccounts().Record = append(c.GetRestoreAccounts().Record, &storev1.Record{Kind: &storev1.Record_Rules{Rules: &storev1.Rules{
		Owner: "nobody@x.org", Rule: []*storev1.SetRule{{Pattern: "*", Message: storev1.Permission_PERMISSION_DENY}},
	}}})
	if r := other.apply(c)[0]; r.Refusal != store.Malformed {
		t.Errorf("rules of nobody: %+v", r)
	}
	if accounts, _ := other.View().Len(); accounts != 100 {
		t.Errorf("a refused piece left %d accounts", accounts)
	}
}

// TestIteration goes through the table in the order of addresses, from a place on.
func TestIteration(t *testing.T) {
	s := newSite(t, store.Config{})
	epochs := []uint64{s.up("n1", 1), s.up("n2", 1)}
	s.fill(200, []string{"n1", "n2"}, epochs)
	v := s.View()
	s.must(ended("n1", epochs[0])) // the view does not see it
	var all, onTwo []string
	v.Listeners(protocol.Address{}, func(l *store.Listener) bool {
		all = append(all, l.Address.String())
		if l.Bindings[0].Session.Node == "n2" {
			onTwo = append(onTwo, l.Address.String())
		}
		return true
	})
	if len(all) != 200 || !slices.IsSorted(all) || len(onTwo) != 100 {
		t.Fatalf("%d listeners, %d of them on n2", len(all), len(onTwo))
	}
	var some []string
	v.SessionsOf("n2", address(onTwo[50]), func(a protocol.Address, b store.Binding) bool {
		some = append(some, a.String())
		return len(some) < 10
	})
	if !slices.Equal(some, onTwo[50:60]) {
		t.Errorf("ten from the 50th on: %v", some)
	}
	some = nil
	v.Accounts(address(all[198]), func(a *store.Account) bool {
		some = append(some, a.Address.String())
		return true
	})
	if !slices.Equal(some, all[198:]) {
		t.Errorf("the accounts from the 198th on: %v", some)
	}
	if n, ok := v.Node("n1"); !ok || n.Down || len(v.Routes(nil, address(all[0]))) != 1 {
		t.Errorf("the view has changed: %+v", n)
	}
}

// TestWhatAChangeMayHold: the limits of a Bind, both sides of them.
func TestWhatAChangeMayHold(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("up n1 boot=1", "account a@x.org")
	for _, n := range []int{protocol.MaxNote, protocol.MaxNote + 1} {
		want := store.None
		if n > protocol.MaxNote {
			want = store.Malformed
		}
		text := strings.Repeat("n", n)
		for i, line := range []string{"listen a@x.org n1.1.1 note=" + text, "state a@x.org n1.1.1 busy note=" + text} {
			if r := s.apply(parseWords(line).change())[0]; r.Refusal != want {
				t.Errorf("line %d with %d octets: %q, want %q", i, n, r.Refusal, want)
			}
		}
	}
	for line, want := range map[string]store.Refusal{
		"up " + strings.Repeat("n", 256) + " boot=1": store.None,
		"up " + strings.Repeat("n", 257) + " boot=1": store.Malformed,
		"up n3 boot=0":                  store.Malformed,
		"listen a@x.org n1.9.1 epoch=1": store.Malformed,
		"account a\u0000@x.org":         store.Malformed,
		"drain n9 epoch=1":              store.EndedEpoch,
		"reap n9":                       store.NoNode,
		fmt.Sprintf("account %0512d@x.org password=x", 1): store.Malformed,
	} {
		if r := s.apply(parseWords(line).change())[0]; r.Refusal != want {
			t.Errorf("%.40s: %q, want %q", line, r.Refusal, want)
		}
	}
}
