package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
)

// siteWithConsole returns a table of schema 5 whose clock is now.
func siteWithConsole(now time.Time) *Table {
	t := New(Config{})
	t.current.schema, t.batchTime = consoleSchema, now
	return t
}

func useToken(t *Table, id string, until time.Time) Refusal {
	return t.useConsoleToken(&storev1.UseConsoleToken{Id: fmt.Appendf(nil, "%016s", id), UntilMs: until.UnixMilli()}).Refusal
}

// A token that was dropped after its end stays used, also by a node whose clock
// is behind that of the node that dropped it.
func TestAConsoleTokenIsNotUsedAgainByALateClock(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	table := siteWithConsole(now)
	if r := useToken(table, "a", now.Add(time.Minute)); r != None {
		t.Fatalf("first use: %s", r)
	}
	table.batchTime = now.Add(5 * time.Minute)
	if r := useToken(table, "b", now.Add(6*time.Minute)); r != None {
		t.Fatalf("another token: %s", r)
	}
	if n := len(table.current.console.used); n != 1 {
		t.Errorf("%d used tokens are kept, want 1", n)
	}
	table.batchTime = now // the clock of another node
	for id, want := range map[string]Refusal{"a": UsedToken, "c": UsedToken, "b": None} {
		until := now.Add(time.Minute)
		if id == "b" {
			until = now.Add(time.Minute + time.Millisecond)
		}
		if r := useToken(table, id, until); r != want {
			t.Errorf("token %s by a late clock: %q, want %q", id, r, want)
		}
	}
}

func TestUsedConsoleTokensAreBounded(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	table := siteWithConsole(now)
	for i := range maxUsedTokens {
		if r := useToken(table, fmt.Sprint(i), now.Add(time.Minute)); r != None {
			t.Fatalf("token %d: %s", i, r)
		}
	}
	if r := useToken(table, "more", now.Add(time.Minute)); r != TooManyTokens {
		t.Errorf("one more: %q, want %q", r, TooManyTokens)
	}
	table.batchTime = now.Add(time.Minute)
	if r := useToken(table, "more", now.Add(2*time.Minute)); r != None {
		t.Errorf("a minute later: %s", r)
	}
}

// A snapshot with a console that no table can have is refused.
func TestConsoleRecordsAreChecked(t *testing.T) {
	id := bytes.Repeat([]byte{1}, consoleTokenOctets)
	secret := bytes.Repeat([]byte{2}, ConsoleSecretOctets)
	used := func(until int64) *storev1.UsedConsoleToken { return &storev1.UsedConsoleToken{Id: id, UntilMs: until} }
	for name, tt := range map[string]struct {
		schema uint32
		record *storev1.Console
		ok     bool
	}{
		"right":        {consoleSchema, &storev1.Console{Generation: 3, Secret: secret, Used: []*storev1.UsedConsoleToken{used(1), used(2)}}, true},
		"no secret":    {consoleSchema, &storev1.Console{Generation: 3}, false},
		"half secret":  {consoleSchema, &storev1.Console{Generation: 3, Secret: secret[:16]}, false},
		"early secret": {consoleSchema, &storev1.Console{Secret: secret}, false},
		"early schema": {consoleSchema - 1, &storev1.Console{}, false},
		"twice":        {consoleSchema, &storev1.Console{Used: []*storev1.UsedConsoleToken{used(1), used(1)}}, false},
		"out of order": {consoleSchema, &storev1.Console{Used: []*storev1.UsedConsoleToken{used(2), used(1)}}, false},
		"short id":     {consoleSchema, &storev1.Console{Used: []*storev1.UsedConsoleToken{{Id: id[1:], UntilMs: 1}}}, false},
		"floor":        {consoleSchema, &storev1.Console{FloorMs: -1}, false},
		"too many":     {consoleSchema, &storev1.Console{Used: make([]*storev1.UsedConsoleToken, maxUsedTokens+1)}, false},
	} {
		b := &restorer{view: newView(), part: partInvitations}
		b.view.schema = tt.schema
		if err := b.addConsole(tt.record); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The secret of a revocation is in the snapshot and in the digest: a node that
// starts from a snapshot makes the same key, and one with another secret is found.
func TestARevocationsSecretIsKept(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	table := siteWithConsole(now)
	if generation, secret := table.ConsoleKey(); generation != 0 || secret != nil {
		t.Errorf("before the first: %d %x", generation, secret)
	}
	revocation := func(octet byte) *storev1.RevokeConsole {
		return &storev1.RevokeConsole{Secret: bytes.Repeat([]byte{octet}, ConsoleSecretOctets)}
	}
	change := revocation(1)
	table.revokeConsole(change)
	generation, secret := table.ConsoleKey()
	if generation != 1 || !bytes.Equal(secret, change.Secret) {
		t.Errorf("after it: %d %x, want %x", generation, secret, change.Secret)
	}
	table.revokeConsole(revocation(2)) // a retry
	if _, again := table.ConsoleKey(); !bytes.Equal(again, secret) {
		t.Error("a retry has changed the secret")
	}
	useToken(table, "a", now.Add(time.Minute))
	if _, later := table.ConsoleKey(); !bytes.Equal(later, secret) {
		t.Error("a link that was used has changed the secret")
	}
	b := &restorer{view: newView(), part: partInvitations}
	b.view.schema = consoleSchema
	if err := b.addConsole(consoleRecord(table.current.console).GetConsole()); err != nil || !bytes.Equal(b.view.console.Secret, secret) {
		t.Errorf("from a snapshot: %v %+v", err, b.view.console)
	}
	sum := func(c *Console) string {
		d := digester{hash: sha256.New()}
		d.addConsole(c)
		return fmt.Sprintf("%x", d.sum())
	}
	if sum(&Console{Generation: 1, Secret: secret}) == sum(&Console{Generation: 1, Secret: bytes.Repeat([]byte{2}, ConsoleSecretOctets)}) {
		t.Error("tables with different secrets have one digest")
	}
}
