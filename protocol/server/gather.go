package server

import (
	"sync"
	"sync/atomic"
)

// gather lets writes wait while a reader still has requests before it that it
// has read already, so that what they lead to is written to each client at
// once. It is shared by all sessions: what one reader lets wait, the next that
// has finished may write.
type gather struct {
	open  atomic.Int32
	mu    sync.Mutex
	list  []*outbox
	spare []*outbox // room for the next list
}

// maxSpare is for how many outboxes room is kept.
const maxSpare = 1024

// begin makes writes wait until end.
func (g *gather) begin() { g.open.Add(1) }

// end has written all that waits.
func (g *gather) end() {
	list := g.close()
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

// close returns what has waited for an end.
func (g *gather) close() []*outbox {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open.Add(-1)
	list := g.list
	for _, o := range list {
		o.joined = false
	}
	g.list, g.spare = g.spare, nil
	return list
}

// opened reports whether writes wait just now.
func (g *gather) opened() bool { return g.open.Load() > 0 }

// join lets o be written at some end, if one will come.
func (g *gather) join(o *outbox) bool {
	if !g.opened() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.opened() {
		return false
	}
	if !o.joined {
		o.joined = true
		g.list = append(g.list, o)
	}
	return true
}
