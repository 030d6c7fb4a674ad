package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"simpd/protocol"
)

// TestIndexAgainstMap does the same to an index and to a map, at random: with
// hashes that hardly ever are the same, and with few.
func TestIndexAgainstMap(t *testing.T) {
	for name, mask := range map[string]uint64{"many hashes": 1<<64 - 1, "few hashes": 0xFFF << 52} {
		t.Run(name, func(t *testing.T) { compareIndex(t, mask) })
	}
}

func compareIndex(t *testing.T, mask uint64) {
	random := rand.New(rand.NewPCG(1, 2))
	x, want := newHashIndex(), map[string]packed{}
	spread := x.hash
	x.hash = func(address string) uint64 { return spread(address) & mask }
	names := make([]string, 20_000)
	all := make([]packed, len(names))
	for i := range names {
		names[i] = fmt.Sprintf("user%d@example.com", i)
		all[i] = listening(names[i], Session{"n1", 1, uint64(i)})
	}
	for range 200_000 {
		i := random.IntN(len(names))
		if random.IntN(3) == 0 {
			x.delete(all[i])
			delete(want, names[i])
			continue
		}
		want[names[i]] = all[i]
		x.insert(all[i])
	}
	checkIndex(t, x, want, names)
	for i, name := range names {
		if s, _, ok := x.singleSession(name); ok && !want[name].isEmpty() && s.Number != uint64(i) {
			t.Fatalf("%s is found as %v", name, s)
		}
	}
	for i := range all {
		x.delete(all[i])
	}
	checkIndex(t, x, nil, names)
}

// TestIndexCrowd gives all listeners the same four homes, so that they stand in
// one row that goes around the end of their part, and has some leave it.
func TestIndexCrowd(t *testing.T) {
	x, want := newHashIndex(), map[string]packed{}
	spread := x.hash
	x.hash = func(address string) uint64 { return spread(address)&^0x3FF&^(0xFF<<56) | 0xFF<<56 | 7 }
	names := make([]string, 600)
	for i := range names {
		names[i] = fmt.Sprintf("user%d@example.com", i)
		want[names[i]] = listening(names[i])
		x.insert(want[names[i]])
	}
	checkIndex(t, x, want, names)
	for i := 0; i < len(names); i += 3 {
		x.delete(want[names[i]])
		delete(want, names[i])
		if i%60 == 0 {
			checkIndex(t, x, want, names)
		}
	}
	checkIndex(t, x, want, names)
	taken := 0
	for _, at := range x.shards[7].slots {
		if at.hash != 0 {
			taken++
		}
		if (at.hash == 0) != at.listener.isEmpty() {
			t.Error("a place is neither free nor taken")
		}
	}
	if taken != len(want) {
		t.Errorf("%d places are taken, by %d listeners", taken, len(want))
	}
}

// TestIndexNamesakes gives two listeners the same hash: each is found as
// themselves, and so long as both are there neither by the hash alone.
func TestIndexNamesakes(t *testing.T) {
	x := newHashIndex()
	x.hash = func(string) uint64 { return 0 }
	one := listening("one@example.com", Session{"n1", 1, 7})
	two := listening("two@example.com", Session{"n2", 2, 8})
	x.insert(one)
	if s, epoch, ok := x.singleSession("one@example.com"); !ok || s != (Session{"n1", 1, 7}) || epoch != 1 {
		t.Errorf("the only one is found as %v of epoch %d: %v", s, epoch, ok)
	}
	x.insert(two)
	for range 2 { // the second time each is set in their own place
		if s, _, ok := x.singleSession("one@example.com"); ok {
			t.Errorf("%v is found by a hash that two have", s)
		}
		if x.get("one@example.com") != one || x.get("two@example.com") != two || !x.get("three@example.com").isEmpty() {
			t.Error("one is taken for the other")
		}
		x.insert(one)
		x.insert(two)
	}
	x.delete(one)
	x.insert(two)
	if s, _, ok := x.singleSession("two@example.com"); !ok || s != (Session{"n2", 2, 8}) {
		t.Errorf("who is left is found as %v: %v", s, ok)
	}
	if !x.get("one@example.com").isEmpty() {
		t.Error("who left is found")
	}
}

// TestIndexSole finds a session without its listener only while there is one.
func TestIndexSole(t *testing.T) {
	x := newHashIndex()
	first, second := Session{"n1", 1, 7}, Session{"n2", 2, 8}
	for _, l := range []struct {
		sessions []Session
		sole     bool
	}{{[]Session{first}, true}, {[]Session{first, second}, false}, {[]Session{second}, true}} {
		x.insert(listening("one@example.com", l.sessions...))
		s, epoch, ok := x.singleSession("one@example.com")
		if ok != l.sole || ok && (s != l.sessions[0] || epoch != s.Epoch) {
			t.Errorf("of %v it finds %v of epoch %d: %v", l.sessions, s, epoch, ok)
		}
	}
	if _, _, ok := x.singleSession("two@example.com"); ok {
		t.Error("who does not listen is found")
	}
}

// TestIndexNoRoom has a place say nothing of what it has no room for.
func TestIndexNoRoom(t *testing.T) {
	x := newHashIndex()
	x.insert(listening("one@example.com", Session{"n1", 1, 1 << 48}))
	if s, _, ok := x.singleSession("one@example.com"); ok {
		t.Errorf("a session of a great number is found as %v", s)
	}
	x.origins.entries = append(x.origins.entries, make([]origin, 1<<originBits)...)
	x.insert(listening("one@example.com", Session{"n1", 2, 1}))
	if s, _, ok := x.singleSession("one@example.com"); ok {
		t.Errorf("a session of one origin too many is found as %v", s)
	}
	x.insert(listening("one@example.com", Session{"n1", 1, 1}))
	if s, _, ok := x.singleSession("one@example.com"); !ok || s != (Session{"n1", 1, 1}) {
		t.Errorf("a session of an earlier origin is found as %v: %v", s, ok)
	}
}

// listening is a listener with these sessions, each bound in the epoch in which
// it began.
func listening(address string, sessions ...Session) packed {
	l := Listener{Address: protocol.CanonicalAddress(address)}
	for _, s := range sessions {
		l.Bindings = append(l.Bindings, Binding{Session: s, Epoch: s.Epoch})
	}
	return newPacked(appendListener(nil, &l))
}

// checkIndex finds each name that is wanted, and no other.
func checkIndex(t *testing.T, x *hashIndex, want map[string]packed, names []string) {
	t.Helper()
	used := 0
	for i := range x.shards {
		used += x.shards[i].occupied
	}
	if used != len(want) {
		t.Errorf("it holds %d of %d", used, len(want))
	}
	for _, name := range names {
		if got := x.get(name); got != want[name] {
			t.Fatalf("%s: found %q, want %q", name, got.address(), want[name].address())
		}
	}
	for name := range maps.Keys(want) {
		if x.get(name+"x") != (packed{}) {
			t.Errorf("%sx is found", name)
		}
	}
}
