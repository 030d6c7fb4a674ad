package netio

import (
	"sync"
	"sync/atomic"
)

// coalescer delays writes while a reader still has requests that it has
// already read, so that all their results for a client are written at once.
// All sessions share it: what one reader has delayed may be written by the
// next one that has finished.
type coalescer struct {
	corks atomic.Int32
	mu    sync.Mutex
	list  []*outbox
	spare []*outbox // memory for the next list
}

// maxSpare limits the memory kept for the next list.
const maxSpare = 1024

// cork delays writes until uncork.
func (g *coalescer) cork() { g.corks.Add(1) }

// uncork writes everything that was delayed.
func (g *coalescer) uncork() {
	list := g.takeWaiting()
	for _, o := range list {
		o.flushNow()
	}
	if cap(list) == 0 || cap(list) > maxSpare {
		return
	}
	clear(list)
	g.mu.Lock()
	g.spare = list[:0]
	g.mu.Unlock()
}

// takeWaiting returns the outboxes whose writes were delayed.
func (g *coalescer) takeWaiting() []*outbox {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.corks.Add(-1)
	list := g.list
	for _, o := range list {
		o.corked = false
	}
	g.list, g.spare = g.spare, nil
	return list
}

// isCorked reports whether writes are being delayed.
func (g *coalescer) isCorked() bool { return g.corks.Load() > 0 }

// add delays the writing of o. It returns false if writes are not being
// delayed.
func (g *coalescer) add(o *outbox) bool {
	if !g.isCorked() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isCorked() {
		return false
	}
	if !o.corked {
		o.corked = true
		g.list = append(g.list, o)
	}
	return true
}
