package store

import (
	"bytes"
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
	used := func(until int64) *storev1.UsedConsoleToken { return &storev1.UsedConsoleToken{Id: id, UntilMs: until} }
	for name, tt := range map[string]struct {
		schema uint32
		record *storev1.Console
		ok     bool
	}{
		"right":        {consoleSchema, &storev1.Console{Generation: 3, Used: []*storev1.UsedConsoleToken{used(1), used(2)}}, true},
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
