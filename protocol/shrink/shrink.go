// Package shrink gives the room of maps back after a flood: a Go map never
// takes less memory than it did when it held the most.
package shrink

const (
	keptRoom = 1024 // entries whose room is always kept
	keptPart = 8    // a map keeps the room of so many times its entries
)

// AfterDelete returns m, from which an entry was deleted, or a copy of it that
// takes less room if m has held far more entries than it does now. most belongs
// to m: it holds the most entries that m has held since it was copied last. The
// copies cost less than the deletions before them.
func AfterDelete[K comparable, V any](m map[K]V, most *int) map[K]V {
	*most = max(*most, len(m)+1)
	if *most <= keptRoom || len(m) > *most/keptPart {
		return m
	}
	smaller := make(map[K]V, len(m))
	for k, v := range m {
		smaller[k] = v
	}
	*most = len(m)
	return smaller
}
