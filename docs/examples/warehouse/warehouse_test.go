package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/store"
)

// replica is a node's word on its table: it is always up to date.
type replica struct{ *store.Table }

func (r replica) ReadBarrier(context.Context) error { return nil }
func (r replica) QuorumLostFor() time.Duration      { return 0 }
func (r replica) CaughtUp() error                   { return nil }

func (r replica) Applied(ctx context.Context, index uint64, _ []string) error {
	return r.Wait(ctx, index)
}

func (r replica) Propose(_ context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	results, err := r.Apply(&storev1.Entry{Batch: []*storev1.Batch{{Change: changes}}})
	if err != nil {
		return nil, err
	}
	return results[0].Results, nil
}

// serve runs a node of the table; kill ends it without a word.
func serve(t *testing.T, table *store.Table) (addr string, kill func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := api.New(api.Config{Domains: []string{"example.com"}, Table: table, Directory: replica{table}, Logger: slog.New(slog.DiscardHandler)})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return l.Addr().String(), func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		server.Shutdown(now)
		<-served
	}
}

func TestNoChangeIsMissedOrTwiceThoughNodesAndTheProgramAreKilled(t *testing.T) {
	log.SetOutput(io.Discard)
	table := store.New(store.Config{})
	change(t, table, &storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{History: "h1"}}})
	change(t, table, &storev1.Change{Kind: &storev1.Change_NodeUp{NodeUp: &storev1.NodeUp{Node: "n1", Incarnation: 1, MinSchema: 1, MaxSchema: 1}}})
	name := filepath.Join(t.TempDir(), "presence.jsonl")
	begun := table.Index()
	for round := range 5 {
		a, killA := serve(t, table)
		b, killB := serve(t, table)
		ctx, stop := context.WithCancel(t.Context())
		j, err := openJournal(name)
		if err != nil {
			t.Fatal(err)
		}
		followed := make(chan error, 1)
		go func() { followed <- follow(ctx, []string{a, b}, j) }()
		comeAndGo(t, table, round, 100)
		reach(t, name, table.Index())
		killA()
		comeAndGo(t, table, round, 100)
		reach(t, name, table.Index())
		stop()
		if err := <-followed; err != nil {
			t.Fatal(err)
		}
		j.Close()
		killB()
		tear(t, name)
	}
	compare(t, table, begun, name)
}

// A state that the program wrote down in part before it died is marked as void.
func TestAnIncompleteStateIsVoid(t *testing.T) {
	name := filepath.Join(t.TempDir(), "presence.jsonl")
	presence := func(ima string) *simpv1.WatchResponse {
		return &simpv1.WatchResponse{Event: &simpv1.WatchResponse_Presence{Presence: &simpv1.Presence{Ima: ima, State: simpv1.State_STATE_BUSY}}}
	}
	synced := &simpv1.WatchResponse{
		Position: &simpv1.Position{History: "h1", Index: 7}, Event: &simpv1.WatchResponse_Synced{Synced: &simpv1.Synced{}},
	}
	for _, told := range [][]*simpv1.WatchResponse{
		{presence("a@example.com")}, {}, {presence("a@example.com"), presence("b@example.com"), synced}, {},
	} {
		j, err := openJournal(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.begin(); err != nil {
			t.Fatal(err)
		}
		for _, r := range told {
			if err := j.add(r); err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
	}
	var got []string
	for _, l := range lines(t, name) {
		got = append(got, l.Event+" "+l.IMA)
	}
	want := "[presence a@example.com reset  presence a@example.com presence b@example.com synced ]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func change(t *testing.T, table *store.Table, c *storev1.Change) store.Result {
	t.Helper()
	results, err := replica{table}.Propose(t.Context(), c)
	if err != nil || results[0].Refusal != store.None {
		t.Fatalf("%+v, %v", results, err)
	}
	return results[0]
}

// comeAndGo makes users listen.
func comeAndGo(t *testing.T, table *store.Table, round, users int) {
	t.Helper()
	for i := range users {
		user := fmt.Sprintf("u%d-%d-%d@example.com", round, table.Index(), i)
		made := change(t, table, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
			Address: user, Mode: storev1.PutAccount_MODE_CREATE,
			Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)},
		}}})
		change(t, table, &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
			Address: user, Session: &storev1.Session{Node: "n1", Epoch: 2, Number: made.Index}, Epoch: 2,
			State: storev1.State_STATE_AVAILABLE, Credential: made.Index,
		}}})
	}
}

// lines returns the whole lines of the file.
func lines(t *testing.T, name string) (all []line) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return all
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// reach waits until the file has come to an index.
func reach(t *testing.T, name string, index uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if all := lines(t, name); len(all) > 0 && all[len(all)-1].Index >= index {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the file has not come to %d", index)
		}
	}
}

// tear leaves half a line, as a program does that dies while it writes.
func tear(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"history":"h1","ind`); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, table *store.Table, after uint64, name string) {
	t.Helper()
	events, _ := table.Events(after, 1<<20)
	var want, got []uint64
	for _, e := range events {
		if e.Kind == store.EventPresence {
			want = append(want, e.Index)
		}
	}
	for _, l := range lines(t, name) {
		if l.Event == "reset" {
			t.Fatalf("a reset: %s", l.Reason)
		}
		if l.Event == "presence" && l.Index > 0 {
			got = append(got, l.Index)
		}
	}
	// What was there when the first watch began is state, not a change.
	if len(got) == 0 || len(got) > len(want) || fmt.Sprint(got) != fmt.Sprint(want[len(want)-len(got):]) {
		t.Fatalf("the file has %d changes, the table %d, or they are in another order", len(got), len(want))
	}
	if state := len(want) - len(got); state > 100 {
		t.Errorf("%d changes came as state; the program began before most of them", state)
	}
}
