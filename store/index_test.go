package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// TestIndexAgainstMap does the same to an index and to a map, at random.
func TestIndexAgainstMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), map[string]packed{}
	names := make([]string, 40_000)
	for i := range names {
		names[i] = fmt.Sprintf("user%d@example.com", i)
	}
	for range 400_000 {
		name := names[random.IntN(len(names))]
		if random.IntN(3) == 0 {
			x.delete(named(name))
			delete(want, name)
			continue
		}
		want[name] = named(name)
		x.set(want[name])
	}
	checkIndex(t, x, want, names)
	for _, name := range names {
		x.delete(named(name))
	}
	checkIndex(t, x, nil, names)
}

// TestIndexCrowd fills one part of an index as none is filled by chance, and
// has the first of those who found their bucket full leave it again.
func TestIndexCrowd(t *testing.T) {
	x, want := newIndex(), map[string]packed{}
	var names []string
	for i := 0; len(names) < 600; i++ {
		name := fmt.Sprintf("user%d@example.com", i)
		if p, _, _ := x.place(name); p == &x.parts[7] {
			names = append(names, name)
			want[name] = named(name)
			x.set(want[name])
		}
	}
	checkIndex(t, x, want, names)
	for _, name := range names[:300] {
		x.delete(want[name])
		delete(want, name)
	}
	checkIndex(t, x, want, names)
	for _, b := range x.parts[7].buckets {
		for i, tag := range b.tags[:bucketSize] {
			if (tag == 0) != b.at[i].deaf() {
				t.Error("a place is neither free nor taken")
			}
		}
	}
}

// checkIndex finds each name that is wanted, and no other.
func checkIndex(t *testing.T, x *index, want map[string]packed, names []string) {
	t.Helper()
	used := 0
	for i := range x.parts {
		used += x.parts[i].used
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
