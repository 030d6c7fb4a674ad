package server

import (
	"slices"
	"sync"
	"sync/atomic"
)

// gather lets writes wait while a reader still has requests before it that it
// has read already, so that what they lead to is written to each client at
// once. It is shared by all sessions: what one reader lets wait, the next that
// has finished may write.
type gather struct {
	open atomic.Int32
	mu   sync.Mutex
	list []*outbox
}

// begin makes writes wait until end.
func (g *gather) begin() { g.open.Add(1) }

// end has written all that waits.
func (g *gather) end() {
	g.mu.Lock()
	g.open.Add(-1)
	list := g.list
	g.list = nil
	g.mu.Unlock()
	for _, o := range list {
		o.flushNow()
	}
}

// join lets o be written at some end, if one will come.
func (g *gather) join(o *outbox) bool {
	if g.open.Load() == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open.Load() == 0 {
		return false
	}
	if len(g.list) < 64 && slices.Contains(g.list, o) {
		return true
	}
	g.list = append(g.list, o)
	return true
}
