package store

import (
	"fmt"
	"testing"
)

// Each name has one position, however many there are.
func TestNamesKeepTheirPositions(t *testing.T) {
	r := newRing(10, 1<<20)
	const names = 10_000
	for range 2 {
		for i := range names {
			if n := r.nameNumber(fmt.Sprint("n", i)); n != uint32(i) || r.names[n] != fmt.Sprint("n", i) {
				t.Fatalf("n%d has the position %d", i, n)
			}
		}
	}
	if len(r.names) != names {
		t.Errorf("%d names are kept", len(r.names))
	}
	r.reset(7)
	if n := r.nameNumber("n5"); n != 0 || len(r.names) != 1 {
		t.Errorf("after a reset n5 has the position %d of %d", n, len(r.names))
	}
}

// What a name costs does not grow with their number, which a snapshot may have
// many of.
func BenchmarkNameNumber(b *testing.B) {
	for _, names := range []int{3, 100_000} {
		b.Run(fmt.Sprint(names), func(b *testing.B) {
			all, r := make([]string, names), newRing(10, 1<<20)
			for i := range all {
				all[i] = fmt.Sprint("node", i)
				r.nameNumber(all[i])
			}
			i := 0
			for b.Loop() {
				r.nameNumber(all[i%names])
				i++
			}
		})
	}
}
