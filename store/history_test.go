package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// chronicle is a site that also remembers, in the plainest way, what each
// change left.
type chronicle struct {
	*site
	r     *rand.Rand
	after map[uint64]*store.Listener
	epoch uint64
}

func newChronicle(tb testing.TB, c store.Config, schema uint32) *chronicle {
	s := &chronicle{site: newSite(tb, c), r: rand.New(rand.NewPCG(1, 2)), after: map[uint64]*store.Listener{}}
	for boot := range uint64(2) {
		if schema == 1 {
			s.epoch = s.up(fmt.Sprint("n", boot+1), 1)
			continue
		}
		c := up(fmt.Sprint("n", boot+1), 1)
		c.GetNodeUp().MaxSchema = schema
		s.epoch = s.must(c).Epoch
	}
	if schema > 1 {
		s.must(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: schema}}})
	}
	return s
}

// do applies a change and remembers what it left of the user.
func (s *chronicle) do(user string, c *storev1.Change) {
	s.Helper()
	if r := s.apply(c)[0]; r.Applied {
		s.after[r.Index] = s.Listener(address(user))
	}
}

// applyMany applies n changes, many in an entry.
func (s *chronicle) applyMany(n int, change func(i int) *storev1.Change) {
	s.Helper()
	var changes []*storev1.Change
	for i := range n {
		if changes = append(changes, change(i)); len(changes) == 250 || i == n-1 {
			s.apply(changes...)
			changes = changes[:0]
		}
	}
}

// long is a text of n octets that no other is.
func (s *chronicle) long(n int) string {
	return fmt.Sprintf("%0*d", n, s.r.Uint64())[:n]
}

func (s *chronicle) bind(user string, number int, exclusive bool) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
		Address: user, Session: &storev1.Session{Node: "n2", Epoch: s.epoch, Number: uint64(number)}, Epoch: s.epoch,
		State: storev1.State_STATE_AVAILABLE, Note: s.long(s.r.IntN(protocol.MaxNote)), Agent: s.long(protocol.MaxNote - 1),
		Client: "192.0.2.1:4711", Exclusive: exclusive, Credential: 1 << 60,
	}}}
}

func (s *chronicle) setState(user string, number int, note *string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
		Address: user, Session: &storev1.Session{Node: "n2", Epoch: s.epoch, Number: uint64(number)}, Epoch: s.epoch,
		State: storev1.State(1 + s.r.IntN(3)), Note: note,
	}}}
}

func release2(s *chronicle, user string, number int) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{
		Address: user, Session: &storev1.Session{Node: "n2", Epoch: s.epoch, Number: uint64(number)}, Epoch: s.epoch,
	}}}
}

// step makes a random change of a user.
func (s *chronicle) step(user string) {
	number := s.r.IntN(protocol.MaxSessions)
	switch s.r.IntN(20) {
	case 0, 1, 2, 3:
		s.do(user, s.bind(user, number, false))
	case 4:
		s.do(user, s.bind(user, number, true))
	case 5, 6:
		s.do(user, release2(s, user, number))
	case 7:
		s.do(user, parseWords("rule "+user+" @"+s.long(9)+".org message=deny").change())
	case 8:
		s.do(user, parseWords("account "+user+" mode=replace password="+s.long(9)).change())
	case 9, 10, 11:
		note := s.long(s.r.IntN(protocol.MaxNote))
		s.do(user, s.setState(user, number, &note))
	default:
		s.do(user, s.setState(user, number, nil))
	}
}

// check compares all events of a table, read in parts of that size, with what
// is remembered.
func (s *chronicle) check(t *store.Table, floor uint64, part int) {
	s.Helper()
	for after := floor; after < t.Index(); {
		events, ok := t.Events(after, part)
		if !ok || len(events) == 0 {
			s.Fatalf("no events after %d", after)
		}
		for _, e := range events {
			after++
			want, known := s.after[after]
			if e.Index != after || known && !reflect.DeepEqual(e.After, want) {
				s.Fatalf("event %d in parts of %d: got\n%+v, want\n%+v", after, part, e.After, want)
			}
		}
	}
}

// TestHistoryOfLongListeners: what the history tells is what was, from every
// place, also after snapshots of both formats, and of what comes after them.
func TestHistoryOfLongListeners(t *testing.T) {
	for schema := range uint32(2) {
		t.Run(fmt.Sprint("schema ", schema+1), func(t *testing.T) {
			s := newChronicle(t, store.Config{}, schema+1)
			users := []string{"a@x.org", "b@x.org", "c@x.org"}
			for _, u := range users {
				s.do(u, setList(u))
			}
			for range 3 {
				for range 1500 {
					s.step(users[s.r.IntN(len(users))])
				}
				for _, part := range []int{1, 7, 256, 1 << 20} {
					s.check(s.Table, 0, part)
				}
				s.Table = restored(t, s.Table, store.Config{})
				s.check(s.Table, 0, 97)
			}
		})
	}
}

// TestSnapshotOfThePast: a snapshot that is written after more changes is of
// the moment at which it was made.
func TestSnapshotOfThePast(t *testing.T) {
	for schema := range uint32(2) {
		s := newChronicle(t, store.Config{}, schema+1)
		s.do("a@x.org", setList("a@x.org"))
		for range 500 {
			s.step("a@x.org")
		}
		var before, after bytes.Buffer
		snapshot, index := s.Snapshot(), s.Index()
		snapshot.WriteTo(&before)
		for range 500 {
			s.step("a@x.org")
		}
		if _, err := snapshot.WriteTo(&after); err != nil {
			t.Fatal(err)
		}
		table := store.New(store.Config{})
		if err := table.Restore(&after); err != nil || table.Index() != index {
			t.Fatalf("schema %d: %v, index %d, want %d", schema+1, err, table.Index(), index)
		}
		s.check(table, 0, 100)
	}
}

// TestSnapshotFormatFollowsTheSchema: before the schema is raised an older
// version reads what is written.
func TestSnapshotFormatFollowsTheSchema(t *testing.T) {
	for schema := range uint32(2) {
		s := newChronicle(t, store.Config{}, schema+1)
		store.ReadSnapshot(bytes.NewReader(octets(s.Table)), func(r *storev1.Record) error {
			if h := r.GetHeader(); h != nil && h.Format != schema+1 {
				t.Errorf("schema %d: format %d", schema+1, h.Format)
			}
			return nil
		})
	}
}

// crowded returns a site with a user who has all sessions, with the longest
// texts.
func crowded(t *testing.T, schema uint32) *chronicle {
	s := newChronicle(t, store.Config{}, schema)
	s.do("a@x.org", setList("a@x.org"))
	for i := range protocol.MaxSessions {
		s.must(s.bind("a@x.org", i, false))
	}
	return s
}

// TestHistoryIsSmall: 100,000 changes of one user with sixteen sessions and
// the longest notes take a few dozen MiB, in memory, in a snapshot, and after
// it; and the contract's 100,000 changes are there.
func TestHistoryIsSmall(t *testing.T) {
	s := crowded(t, 2)
	before := int(heap())
	s.applyMany(141_000, func(i int) *storev1.Change {
		note := s.long(protocol.MaxNote)
		return s.setState("a@x.org", i%protocol.MaxSessions, &note)
	})
	grown := int(heap()) - before
	snapshot := octets(s.Table)
	t.Logf("%d MiB in memory, %d MiB in a snapshot", grown>>20, len(snapshot)>>20)
	if grown > 64<<20 || len(snapshot) > 48<<20 {
		t.Errorf("%d octets in memory, %d in a snapshot", grown, len(snapshot))
	}
	if _, ok := s.Events(s.Index()-100_000, 10); !ok {
		t.Error("fewer than 100,000 changes are kept")
	}
	before = int(heap())
	table := restored(t, s.Table, store.Config{})
	if grown = int(heap()) - before; grown > 64<<20 {
		t.Errorf("%d octets after a restore", grown)
	}
	compareEvents(t, s.Table, table, s.Index()-5_000)
	one, ok1 := s.Events(s.Index()-100_000, 100)
	two, ok2 := table.Events(s.Index()-100_000, 100)
	if !ok1 || !ok2 || !reflect.DeepEqual(one, two) {
		t.Error("the oldest changes are others after a restore")
	}
}

// TestHistoryIsBoundInOctets: the dearest changes of all do not make the
// history exceed its octets, nor fall short of 100,000.
func TestHistoryIsBoundInOctets(t *testing.T) {
	s := newChronicle(t, store.Config{}, 2)
	s.do("a@x.org", setList("a@x.org"))
	before := int(heap())
	s.applyMany(112_000, func(i int) *storev1.Change {
		c := s.bind("a@x.org", i, true)
		c.GetBind().Note = s.long(protocol.MaxNote)
		return c
	})
	grown := int(heap()) - before
	t.Logf("%d MiB", grown>>20)
	if grown > store.DefaultHistoryOctets*11/10 {
		t.Errorf("%d octets in memory", grown)
	}
	if _, ok := s.Events(s.Index()-100_000, 10); !ok {
		t.Error("fewer than 100,000 changes are kept")
	}
	small := newChronicle(t, store.Config{HistoryOctets: 1 << 20}, 2)
	small.do("a@x.org", setList("a@x.org"))
	before = int(heap())
	for i := range 10_000 {
		small.apply(small.bind("a@x.org", i, true))
	}
	if grown = int(heap()) - before; grown > 2<<20 {
		t.Errorf("%d octets in memory, where 1 MiB is the bound", grown)
	}
	if _, ok := small.Events(small.Index()-1000, 10); !ok {
		t.Error("the newest thousand is not kept")
	}
}

// TestManyUsersHistoryIsSmall: it is the changes that cost, not how many users
// with long lists of sessions they are of.
func TestManyUsersHistoryIsSmall(t *testing.T) {
	s := newChronicle(t, store.Config{}, 2)
	for u := range 500 {
		s.do(user(u), setList(user(u)))
		for i := range protocol.MaxSessions {
			s.must(s.bind(user(u), i, false))
		}
	}
	before := int(heap())
	s.applyMany(60_000, func(i int) *storev1.Change { return s.setState(user(i%500), i%protocol.MaxSessions, nil) })
	if grown := int(heap()) - before; grown > 24<<20 {
		t.Errorf("%d octets for 60,000 changes of a state", grown)
	}
}

// TestUndoOutOfOrder: an undo that does not fit its listener is refused, and
// never a panic.
func TestUndoOutOfOrder(t *testing.T) {
	s := crowded(t, 2)
	for range 40 {
		s.step("a@x.org")
	}
	var records []*storev1.Record
	store.ReadSnapshot(bytes.NewReader(octets(s.Table)), func(r *storev1.Record) error {
		records = append(records, r)
		return nil
	})
	tried := 0
	table := store.New(store.Config{})
	for i, r := range records {
		undo := r.GetEvent().GetUndo()
		for place := range undo {
			spoilt := proto.CloneOf(r)
			spoilt.GetEvent().Undo[place] ^= 0x81
			all := append([]*storev1.Record{}, records...)
			all[i] = spoilt
			if table.Restore(bytes.NewReader(written(all))) == nil {
				table.Events(0, 1<<20) // told, whatever it is
			}
			if tried++; tried > 1000 {
				return
			}
		}
	}
	if tried < 100 {
		t.Error("there is no undo to spoil")
	}
	for name, spoil := range map[string]func(*storev1.Event){
		"present": func(e *storev1.Event) { e.Present, e.Undo = true, nil },
		"an undo": func(e *storev1.Event) { e.Address = strings.ToUpper(e.Address) },
		"empty":   func(e *storev1.Event) { e.Undo = []byte{} },
	} {
		all := append([]*storev1.Record{}, records...)
		for i, r := range records {
			if len(r.GetEvent().GetUndo()) > 0 {
				all[i] = proto.CloneOf(r)
				spoil(all[i].GetEvent())
				break
			}
		}
		if err := store.New(store.Config{}).Restore(bytes.NewReader(written(all))); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// BenchmarkEventsOfLongListeners reads a history of one user with sixteen
// sessions from its beginning, as a consumer does that was away.
func BenchmarkEventsOfLongListeners(b *testing.B) {
	s := newChronicle(b, store.Config{}, 2)
	s.do("a@x.org", setList("a@x.org"))
	for i := range protocol.MaxSessions {
		s.must(s.bind("a@x.org", i, false))
	}
	for i := range 100_000 {
		note := s.long(protocol.MaxNote)
		s.apply(s.setState("a@x.org", i%protocol.MaxSessions, &note))
	}
	at := s.Index() - 99_000
	b.ReportAllocs()
	for b.Loop() {
		if events, ok := s.Events(at, 64); !ok || len(events) == 0 {
			b.Fatal("no events")
		}
		if at += 64; at > s.Index()-64 {
			at = s.Index() - 99_000
		}
	}
}
