package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/encoding/protowire"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// say applies the lines of a story and fails where one is refused.
func (s *site) say(lines ...string) {
	s.Helper()
	for _, line := range lines {
		s.must(parseWords(line).change())
	}
}

func TestEventsReachBack(t *testing.T) {
	s := newSite(t, store.Config{History: 2000})
	s.say("up n1 boot=1", "account a@x.org", "listen a@x.org n1.1.1")
	for i := range 5000 {
		s.say(fmt.Sprintf("state a@x.org n1.1.1 available note=%d", i))
	}
	if _, ok := s.Events(s.Index()-2000, 1); !ok {
		t.Error("2000 changes are not kept")
	}
	if _, ok := s.Events(s.Index()-2000-1024, 1); ok {
		t.Error("far more than 2000 changes are kept")
	}
	if _, ok := s.Events(s.Index()+1, 1); ok {
		t.Error("events after what is not yet")
	}
	if events, ok := s.Events(s.Index(), 1); !ok || len(events) != 0 {
		t.Errorf("after the newest change: %v, %v", events, ok)
	}
	compareEvents(t, s.Table, restored(t, s.Table, store.Config{History: 2000}), s.Index()-2000)
}

// compareEvents follows two tables from a position on, in pieces.
func compareEvents(t *testing.T, a, b *store.Table, after uint64) {
	t.Helper()
	for after < a.Index() {
		one, ok1 := a.Events(after, 97)
		two, ok2 := b.Events(after, 97)
		if !ok1 || !ok2 || len(one) == 0 || !reflect.DeepEqual(one, two) {
			t.Fatalf("after %d: %v %v, %v %v", after, ok1, one, ok2, two)
		}
		after = one[len(one)-1].Index
	}
}

func restored(t *testing.T, from *store.Table, c store.Config) *store.Table {
	t.Helper()
	table := store.New(c)
	if err := table.Restore(bytes.NewReader(octets(from))); err != nil {
		t.Fatal(err)
	}
	return table
}

func TestEventsOfASmallerRing(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("up n1 boot=1", "account a@x.org")
	for i := range 3000 {
		s.say(fmt.Sprintf("rule a@x.org @d%d.org message=deny", i%900), fmt.Sprintf("rule a@x.org @d%d.org", i%900))
	}
	small := restored(t, s.Table, store.Config{History: 1000})
	if _, ok := small.Events(100, 1); ok {
		t.Error("a ring of 1000 keeps 6000")
	}
	compareEvents(t, s.Table, small, s.Index()-1000)
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, store.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var woken, gone sync.WaitGroup
		for i := range 5000 {
			woken.Go(func() {
				if err := s.Wait(t.Context(), uint64(i%3)); err != nil || s.Index() < uint64(i%3) {
					t.Errorf("woken at %d for %d: %v", s.Index(), i%3, err)
				}
			})
			gone.Go(func() {
				if err := s.Wait(ctx, 3); !errors.Is(err, context.Canceled) {
					t.Errorf("given up: %v", err)
				}
			})
		}
		s.say("up n1 boot=1")
		synctest.Wait()
		cancel()
		gone.Wait()
		s.say("up n2 boot=1")
		woken.Wait()
		// Whoever gives up takes nobody along.
		var last sync.WaitGroup
		last.Go(func() { s.Wait(t.Context(), 3) })
		synctest.Wait()
		s.Wait(ctx, 3)
		s.say("up n3 boot=1")
		last.Wait()
	})
}

func TestWaitEndsWithRestore(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("up n1 boot=1", "up n2 boot=1")
	other := store.New(store.Config{})
	var done sync.WaitGroup
	done.Go(func() {
		if err := other.Wait(t.Context(), 2); err != nil {
			t.Error(err)
		}
	})
	if err := other.Restore(bytes.NewReader(octets(s.Table))); err != nil {
		t.Fatal(err)
	}
	done.Wait()
}

// TestReadersBesideApply is for the race detector: whatever is read beside
// changes is of one moment.
func TestReadersBesideApply(t *testing.T) {
	s := newSite(t, store.Config{History: 1024})
	epochs := []uint64{s.up("n1", 1), s.up("n2", 1)}
	s.fill(300, []string{"n1", "n2"}, epochs)
	end, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for _, read := range []func(*testing.T, *store.Table){readView, readTable, readEvents, readSnapshot} {
		readers.Go(func() {
			for end.Err() == nil {
				read(t, s.Table)
			}
		})
	}
	for i := range 300 {
		s.apply(relisten(s, i%2, epochs[i%2]).Batch[0].Change[:8]...)
		s.apply(up("n2", uint64(2+i)), reap("n2", 7), ended("n2", s.Index()+1), setList(user(1000+i)))
	}
	stop()
	readers.Wait()
}

func readView(t *testing.T, table *store.Table) {
	v := table.View()
	before := v.Digest()
	listeners := 0
	v.Listeners(protocol.Address{}, func(l *store.Listener) bool {
		listeners++
		return len(l.Bindings) > 0
	})
	if _, n := v.Len(); n != listeners || v.Digest() != before {
		t.Errorf("a view of %d changed: %d listeners, %d counted", v.Index(), n, listeners)
	}
}

func readTable(t *testing.T, table *store.Table) {
	for i := range 20 {
		a := address(user(i))
		table.Routes(nil, a)
		table.Listener(a)
		if _, ok := table.Account(a); !ok {
			t.Errorf("%s has no account", a)
		}
	}
	if p := table.Position(); p.Index > table.Index() {
		// Index is published after the change, never before.
		if err := table.Wait(t.Context(), p.Index); err != nil {
			t.Error(err)
		}
	}
	table.Nodes()
}

func readEvents(t *testing.T, table *store.Table) {
	now := table.Index()
	events, ok := table.Events(now-min(now, 500), 600)
	if !ok || len(events) > 0 && events[len(events)-1].Index < now {
		t.Errorf("at %d: %d events, %v", now, len(events), ok)
	}
}

func readSnapshot(t *testing.T, table *store.Table) {
	snapshot := table.Snapshot()
	var w bytes.Buffer
	if _, err := snapshot.WriteTo(&w); err != nil {
		t.Error(err)
	}
	other := store.New(store.Config{})
	if err := other.Restore(&w); err != nil || other.View().Digest() != snapshot.View().Digest() {
		t.Errorf("a snapshot of %d can't be restored: %v", snapshot.View().Index(), err)
	}
}

// TestNewerEntries: what this program can't read is an error before any of it
// is applied.
func TestNewerEntries(t *testing.T) {
	unknown := &storev1.Change{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new")))
	for name, e := range map[string]*storev1.Entry{
		"schema": {MinSchema: store.NewestSchema + 1, Batch: []*storev1.Batch{{Change: []*storev1.Change{setList("a@x.org")}}}},
		"kind":   {MinSchema: 1, Batch: []*storev1.Batch{{Change: []*storev1.Change{setList("a@x.org")}}, {Change: []*storev1.Change{setList("b@x.org"), unknown}}}},
		"set":    {MinSchema: 1, Batch: []*storev1.Batch{{Change: []*storev1.Change{setList("a@x.org"), parseWords(fmt.Sprint("schema to=", store.NewestSchema+1)).change()}}}},
	} {
		t.Run(name, func(t *testing.T) {
			table := store.New(store.Config{})
			read, err := store.DecodeEntry(store.EncodeEntry(e))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Apply(read); !errors.Is(err, store.ErrSchema) {
				t.Errorf("got %v, want %v", err, store.ErrSchema)
			}
			if table.Index() != 0 || table.View().Digest() != store.New(store.Config{}).View().Digest() {
				t.Errorf("something was applied: index %d", table.Index())
			}
		})
	}
}

// TestReapsInPieces: a node has left little among many; each piece looks at
// few, and all of them end each user once, in order.
func TestReapsInPieces(t *testing.T) {
	s := newSite(t, store.Config{})
	epochs := []uint64{s.up("n1", 1), s.up("n2", 1)}
	s.fill(4000, []string{"n1"}, epochs)
	for i := 1; i < 4000; i += 401 {
		s.apply(bindAt(i, "n2", epochs[1]))
	}
	s.must(ended("n2", epochs[1]))
	before, pieces := s.Index(), 1
	for s.apply(reap("n2", 4))[0].More {
		pieces++
	}
	events, _ := s.Events(before, 100)
	order := slices.IsSortedFunc(events, func(a, b store.Event) int { return a.Address.Compare(b.Address) })
	if len(events) != 10 || !order || pieces < 20 || pieces > 40 {
		t.Errorf("%d users reaped (in order: %v) in %d pieces", len(events), order, pieces)
	}
	if n, _ := s.Node("n2"); n.NeedsReap {
		t.Error("something is left")
	}
}

func TestListLimits(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("account a@x.org")
	for i := range protocol.MaxRules {
		s.say(fmt.Sprintf("rule a@x.org @d%d.org message=deny", i), fmt.Sprintf("contact a@x.org c%d@x.org", i))
	}
	for line, want := range map[string]store.Refusal{
		"rule a@x.org * message=deny":                               store.TooManyRules,
		"rule a@x.org @d5.org message=allow":                        store.None,
		"contact a@x.org new@x.org":                                 store.TooManyContacts,
		"contact a@x.org c5@x.org name=" + strings.Repeat("n", 256): store.None,
		"contact a@x.org c6@x.org name=" + strings.Repeat("n", 257): store.Malformed,
	} {
		if r := s.apply(parseWords(line).change())[0]; r.Refusal != want {
			t.Errorf("%s: %s, want %s", line, r.Refusal, want)
		}
	}
	table := restored(t, s.Table, store.Config{})
	if len(table.Rules(address("a@x.org"))) != protocol.MaxRules || len(table.Contacts(address("a@x.org"))) != protocol.MaxContacts {
		t.Error("a snapshot loses rules or contacts")
	}
}

// TestMemoryOfAListener: a user who listens on another node costs this one
// little; most nodes hold most users so.
func TestMemoryOfAListener(t *testing.T) {
	const n, most = 50_000, 300
	s := newSite(t, store.Config{History: 1})
	epoch := s.up("n1", 1)
	for i := range n {
		s.apply(setList(user(i)))
	}
	before := heap()
	for i := range n {
		s.apply(bindAt(i, "n1", epoch))
	}
	if each := (heap() - before) / n; each > most {
		t.Errorf("a listener costs %d octets, want at most %d", each, most)
	}
	runtime.KeepAlive(s)
}

// TestLookupsDoNotAllocate: what each SEND and each QUERY asks costs no allocation.
func TestLookupsDoNotAllocate(t *testing.T) {
	s := newSite(t, store.Config{})
	s.fill(100, []string{"n1"}, []uint64{s.up("n1", 1)})
	s.apply(setList("two@x.org"))
	s.say("listen two@x.org n1.1.901 note=one", "listen two@x.org n1.1.902 state=busy")
	a, b := address(user(1)), address("two@x.org")
	var buf [4]store.Session
	n := testing.AllocsPerRun(100, func() {
		if len(s.Routes(buf[:0], a)) != 1 || len(s.Routes(buf[:0], b)) != 2 || s.Presence(b).Note != "one" {
			t.Error("not found")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSessionNames(t *testing.T) {
	for _, s := range []store.Session{{Node: "n1", Epoch: 7, Number: 42}, {Node: "a.b.c", Epoch: 1, Number: 1<<64 - 1}} {
		if again, err := store.ParseSession(s.String()); err != nil || again != s {
			t.Errorf("%v became %v, %v", s, again, err)
		}
	}
	for _, s := range []string{"", "n1", "n1.7", ".7.42", "n1.7.x", "n1.-7.42", "n1.7.42.", "n1..42"} {
		if got, err := store.ParseSession(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func TestRefusalsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := store.None; r <= store.WrongSchema; r++ {
		if seen[r.String()] || r.String() == "unknown" {
			t.Errorf("refusal %d is named %q", r, r)
		}
		seen[r.String()] = true
	}
}

// TestPinnedBy: what a view keeps is counted, lists included.
func TestPinnedBy(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("up n1 boot=1", "account a@x.org")
	for i := range 100 {
		s.say(fmt.Sprintf("rule a@x.org @d%d.org message=deny", i))
	}
	v := s.View()
	if n := s.PinnedBy(v); n != 0 {
		t.Errorf("a view of the present keeps %d octets", n)
	}
	s.say("rule a@x.org @e.org message=deny")
	if n := s.PinnedBy(v); n < 4000 || n > 10_000 {
		t.Errorf("a view from before a change of 100 rules keeps %d octets", n)
	}
	if err := s.Restore(bytes.NewReader(octets(s.Table))); err != nil {
		t.Fatal(err)
	}
	if n := s.PinnedBy(v); n < 1<<30 {
		t.Errorf("a view of a replaced table keeps %d octets", n)
	}
}
