package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// waiting is who waits for the index to grow: one gate for each index that is
// waited for, however many wait there.
type waiting struct {
	mu    sync.Mutex
	gates btree.Map[uint64, *gate]
}

type gate struct {
	open    chan struct{}
	waiting int
}

// wait returns once now is at least index.
func (w *waiting) wait(ctx context.Context, now *atomic.Uint64, index uint64) error {
	g := w.enter(now, index)
	if g == nil {
		return nil
	}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		w.leave(g, index)
		return ctx.Err()
	}
}

// enter returns nil if the index is there already. It looks under the lock
// that reached takes after the index is stored, so that none is missed.
func (w *waiting) enter(now *atomic.Uint64, index uint64) *gate {
	if now.Load() >= index {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Load() >= index {
		return nil
	}
	g, ok := w.gates.Get(index)
	if !ok {
		g = &gate{open: make(chan struct{})}
		w.gates.Set(index, g)
	}
	g.waiting++
	return g
}

func (w *waiting) leave(g *gate, index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.waiting--; g.waiting > 0 {
		return
	}
	if now, _ := w.gates.Get(index); now == g {
		w.gates.Delete(index)
	}
}

// reached opens the gates up to index.
func (w *waiting) reached(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		at, g, ok := w.gates.Min()
		if !ok || at > index {
			return
		}
		w.gates.PopMin()
		close(g.open)
	}
}
