package store

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// VerifierShape is what a login reveals of a verifier to anybody: the length
// of its salt in octets, and its iteration count.
type VerifierShape struct {
	Salt       int
	Iterations uint32
}

// ShapeCount is the number of accounts with verifiers of one shape.
type ShapeCount struct {
	VerifierShape
	Accounts int
}

// MaxShapes is how many shapes VerifierShapes returns: the most frequent
// ones.
const MaxShapes = 64

// shapeCounter counts the accounts' verifiers by shape. Any goroutine may use
// it.
type shapeCounter struct {
	mu      sync.Mutex
	byShape map[VerifierShape]int
	sorted  []ShapeCount // nil when it has to be recomputed
}

func (v *Verifier) shape() VerifierShape { return VerifierShape{len(v.Salt), v.Iterations} }

// add counts n more accounts with verifiers like v.
func (s *shapeCounter) add(v *Verifier, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byShape == nil {
		s.byShape = make(map[VerifierShape]int)
	}
	shape := v.shape()
	if s.byShape[shape] += n; s.byShape[shape] == 0 {
		delete(s.byShape, shape)
	}
	s.sorted = nil
}

// replaceAccount counts after instead of before; either may be nil.
func (s *shapeCounter) replaceAccount(before, after *Account) {
	if before != nil && after != nil && before.Verifier.shape() == after.Verifier.shape() {
		return
	}
	if before != nil {
		s.add(&before.Verifier, -1)
	}
	if after != nil {
		s.add(&after.Verifier, 1)
	}
}

// replaceAll replaces all counts with those of other.
func (s *shapeCounter) replaceAll(other *shapeCounter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byShape, s.sorted = other.byShape, nil
}

// mostFrequent returns the most frequent shapes, sorted by shape. The list is
// shared and must not be changed.
func (s *shapeCounter) mostFrequent() []ShapeCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted != nil || len(s.byShape) == 0 {
		return s.sorted
	}
	all := make([]ShapeCount, 0, len(s.byShape))
	for shape := range maps.Keys(s.byShape) {
		all = append(all, ShapeCount{shape, s.byShape[shape]})
	}
	slices.SortFunc(all, func(a, b ShapeCount) int {
		return cmp.Or(cmp.Compare(b.Accounts, a.Accounts), compareShapes(a, b))
	})
	all = slices.Clip(all[:min(len(all), MaxShapes)])
	slices.SortFunc(all, compareShapes)
	s.sorted = all
	return all
}

func compareShapes(a, b ShapeCount) int {
	return cmp.Or(cmp.Compare(a.Salt, b.Salt), cmp.Compare(a.Iterations, b.Iterations))
}

// VerifierShapes returns the number of accounts for each of the MaxShapes
// most frequent verifier shapes, sorted by length and iterations. The list is
// shared and must not be changed.
func (t *Table) VerifierShapes() []ShapeCount { return t.shapes.mostFrequent() }
