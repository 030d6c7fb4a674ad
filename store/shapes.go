package store

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// VerifierShape is what a login shows of a verifier to anybody: the length of
// its salt, in octets, and its iterations.
type VerifierShape struct {
	Salt       int
	Iterations uint32
}

// ShapeCount says how many accounts have verifiers of a shape.
type ShapeCount struct {
	VerifierShape
	Accounts int
}

// MaxShapes is how many shapes VerifierShapes returns: the most frequent ones.
const MaxShapes = 64

// shapes counts the accounts' verifiers by shape. Any goroutine may use it.
type shapes struct {
	mu     sync.Mutex
	of     map[VerifierShape]int
	sorted []ShapeCount // nil: to be made anew
}

func (v *Verifier) shape() VerifierShape { return VerifierShape{len(v.Salt), v.Iterations} }

// count counts n accounts more with verifiers like v.
func (s *shapes) count(v *Verifier, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[VerifierShape]int)
	}
	shape := v.shape()
	if s.of[shape] += n; s.of[shape] == 0 {
		delete(s.of, shape)
	}
	s.sorted = nil
}

// replaceAccount counts after in the place of before; nil: none.
func (s *shapes) replaceAccount(before, after *Account) {
	if before != nil && after != nil && before.Verifier.shape() == after.Verifier.shape() {
		return
	}
	if before != nil {
		s.count(&before.Verifier, -1)
	}
	if after != nil {
		s.count(&after.Verifier, 1)
	}
}

// take makes the counts of other s's own.
func (s *shapes) take(other *shapes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of, s.sorted = other.of, nil
}

// list returns the most frequent shapes, in an order of their own. It is
// shared, and not to be changed.
func (s *shapes) list() []ShapeCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted != nil || len(s.of) == 0 {
		return s.sorted
	}
	all := make([]ShapeCount, 0, len(s.of))
	for shape := range maps.Keys(s.of) {
		all = append(all, ShapeCount{shape, s.of[shape]})
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

// VerifierShapes returns how many accounts have verifiers of which shape: the
// MaxShapes most frequent ones, by length and iterations. The list is shared,
// and not to be changed.
func (t *Table) VerifierShapes() []ShapeCount { return t.shapes.list() }
