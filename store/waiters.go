package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// indexWaiters lets goroutines wait for the index to grow. It has one waiter
// for each index that is waited for, however many goroutines wait for it.
type indexWaiters struct {
	mu      sync.Mutex
	waiters btree.Map[uint64, *waiter]
}

type waiter struct {
	ready chan struct{}
	count int
}

// wait returns once now is at least index.
func (w *indexWaiters) wait(ctx context.Context, now *atomic.Uint64, index uint64) error {
	g := w.add(now, index)
	if g == nil {
		return nil
	}
	select {
	case <-g.ready:
		return nil
	case <-ctx.Done():
		w.remove(g, index)
		return ctx.Err()
	}
}

// add returns nil if the index has been reached. It checks under the lock
// that notify takes after the index is stored, so no wake-up is missed.
func (w *indexWaiters) add(now *atomic.Uint64, index uint64) *waiter {
	if now.Load() >= index {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Load() >= index {
		return nil
	}
	g, ok := w.waiters.Get(index)
	if !ok {
		g = &waiter{ready: make(chan struct{})}
		w.waiters.Set(index, g)
	}
	g.count++
	return g
}

func (w *indexWaiters) remove(g *waiter, index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.count--; g.count > 0 {
		return
	}
	if now, _ := w.waiters.Get(index); now == g {
		w.waiters.Delete(index)
	}
}

// notify wakes those who wait for an index up to index.
func (w *indexWaiters) notify(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		at, g, ok := w.waiters.Min()
		if !ok || at > index {
			return
		}
		w.waiters.PopMin()
		close(g.ready)
	}
}
