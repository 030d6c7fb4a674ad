package backup_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"simpd/cluster/api/backup"
	storev1 "simpd/proto/simp/store/v1"
)

// made returns a backup of n accounts with a rule and two contacts each.
func made(t *testing.T, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, &storev1.Header{History: "8f3a", Index: 42})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		user := fmt.Sprintf("user%d@example.com", i)
		for _, r := range []*storev1.Record{
			{Kind: &storev1.Record_Account{Account: &storev1.Account{Address: user, Disabled: i == 0}}},
			{Kind: &storev1.Record_Rules{Rules: &storev1.Rules{Owner: user, Rule: []*storev1.SetRule{{Pattern: "*"}}}}},
			{Kind: &storev1.Record_Contacts{Contacts: &storev1.Contacts{Owner: user, Contact: []*storev1.SetContact{{Address: "a@b.example"}, {Address: "c@d.example"}}}}},
		} {
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestInspectTellsWhatIsInside(t *testing.T) {
	got, err := backup.Inspect(bytes.NewReader(made(t, 3)))
	want := backup.Contents{History: "8f3a", Index: 42, Accounts: 3, Disabled: 1, Rules: 3, Contacts: 6}
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	file := made(t, 2)
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			if c, err := backup.Inspect(bytes.NewReader(file)); err == nil {
				t.Fatalf("octet %d, bit %d: %+v is taken for sound", i, bit, c)
			}
			file[i] ^= 1 << bit
		}
	}
}

func TestEveryCutIsFound(t *testing.T) {
	file := made(t, 2)
	for n := range len(file) {
		if _, err := backup.Inspect(bytes.NewReader(file[:n])); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut to %d octets: %v", n, err)
		}
	}
	if _, err := backup.Inspect(bytes.NewReader(append(file, 0))); !errors.Is(err, backup.ErrDamaged) {
		t.Fatalf("with an octet more: %v", err)
	}
}

func TestARecordOfASnapshotIsRefused(t *testing.T) {
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, &storev1.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&storev1.Record{Kind: &storev1.Record_Node{Node: &storev1.Node{Node: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Inspect(&file); err == nil || !strings.Contains(err.Error(), "no backup has") {
		t.Fatalf("got %v", err)
	}
}

// A length that is announced takes no memory before its octets come.
func TestAnAnnouncedLengthTakesNoMemory(t *testing.T) {
	for _, octets := range []int{0, 1000} {
		hostile := append([]byte(backup.Magic), binary.AppendUvarint(nil, 4<<20-1)...)
		hostile = append(hostile, make([]byte, octets)...)
		var before, after runtime.MemStats
		const times = 16
		runtime.ReadMemStats(&before)
		for range times {
			if _, err := backup.NewReader(bytes.NewReader(hostile)); !errors.Is(err, backup.ErrDamaged) {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / times; n > 256<<10 {
			t.Errorf("%d octets are allocated for %d that came", n, octets)
		}
	}
}

// An account stands once, after those before it, with its own rules and contacts.
func TestRecordsThatAreNotInOrderAreRefused(t *testing.T) {
	account := func(a string) *storev1.Record {
		return &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{Address: a}}}
	}
	rules := func(a string) *storev1.Record {
		return &storev1.Record{Kind: &storev1.Record_Rules{Rules: &storev1.Rules{Owner: a}}}
	}
	contacts := func(a string) *storev1.Record {
		return &storev1.Record{Kind: &storev1.Record_Contacts{Contacts: &storev1.Contacts{Owner: a}}}
	}
	for name, c := range map[string]struct {
		records []*storev1.Record
		sound   bool
	}{
		"nothing":                {nil, true},
		"all":                    {[]*storev1.Record{account("a"), rules("a"), contacts("a"), account("b"), contacts("b"), account("c")}, true},
		"an account twice":       {[]*storev1.Record{account("a"), account("a")}, false},
		"an earlier account":     {[]*storev1.Record{account("b"), account("a")}, false},
		"an account of nobody":   {[]*storev1.Record{account("")}, false},
		"rules before accounts":  {[]*storev1.Record{rules("")}, false},
		"another's rules":        {[]*storev1.Record{account("a"), account("b"), rules("a")}, false},
		"rules twice":            {[]*storev1.Record{account("a"), rules("a"), rules("a")}, false},
		"rules after contacts":   {[]*storev1.Record{account("a"), contacts("a"), rules("a")}, false},
		"contacts of no account": {[]*storev1.Record{account("a"), contacts("b")}, false},
	} {
		var file bytes.Buffer
		w, err := backup.NewWriter(&file, &storev1.Header{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.records {
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Inspect(&file); errors.Is(err, backup.ErrDamaged) == c.sound || c.sound && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
