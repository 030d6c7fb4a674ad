package router

import (
	"context"
	"sync"
	"time"

	"simpd/protocol"
)

// foreignPatience is how long WATCH and QUERY wait for another site's first
// answer before they say that the state is unknown.
const foreignPatience = 2 * time.Second

// foreign is one right to know of another site's user: asked for once,
// however many of this node's connections of that watcher want to know. The
// hub's mutex guards it.
type foreign struct {
	watches int
	now     protocol.Presence
	known   chan struct{} // closed with the first answer
}

// hold has p watched at the other site, for one who will let go of it. h.mu
// is held.
func (h *hub) hold(p pair) *foreign {
	f := h.foreign[p]
	if f == nil {
		f = &foreign{now: protocol.Presence{Address: p.of, State: protocol.Unknown}, known: make(chan struct{})}
		h.foreign[p] = f
		h.r.Relay.Watch(p.by, p.of, func(now protocol.Presence) { h.foreignChanged(p, f, now) })
	}
	f.watches++
	return f
}

// letGo ends what hold began. h.mu is held.
func (h *hub) letGo(p pair) {
	f := h.foreign[p]
	if f.watches--; f.watches == 0 {
		delete(h.foreign, p)
		h.r.Relay.Unwatch(p.by, p.of)
	}
}

// foreignChanged takes what the other site says.
func (h *hub) foreignChanged(p pair, f *foreign, now protocol.Presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.foreign[p] != f {
		return // a late word on what nobody watches any more
	}
	f.now = now
	if !f.isKnown() {
		close(f.known)
	}
	for _, w := range h.watchers[p.of] {
		if w.by == p.by && (w.state != now.State || w.seen != now.Index) {
			w.show(notice(now, now.Index), now.Index)
		}
	}
}

// elsewhere tells whether p is another site's to answer.
func (r *Router) elsewhere(p pair) bool {
	return r.Relay != nil && !r.Local(p.of) && !p.of.IsLiteral() && r.Local(p.by)
}

// isKnown reports whether the other site has said anything.
func (f *foreign) isKnown() bool {
	select {
	case <-f.known:
		return true
	default:
		return false
	}
}

// awaitForeign waits a moment for first answers of other sites.
func awaitForeign(ctx context.Context, all []*foreign) {
	ctx, cancel := context.WithTimeout(ctx, foreignPatience)
	defer cancel()
	for _, f := range all {
		select {
		case <-f.known:
		case <-ctx.Done():
		}
	}
}

// askForeign asks other sites for what the pairs may know now. It does not
// watch, but takes what is known from watching.
func (r *Router) askForeign(ctx context.Context, pairs []pair) map[pair]protocol.Presence {
	ctx, cancel := context.WithTimeout(ctx, foreignPatience)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	answers := map[pair]protocol.Presence{}
	for _, p := range pairs {
		if r.elsewhere(p) {
			asked.Go(func() {
				now := r.Relay.Query(ctx, p.by, p.of)
				mu.Lock()
				defer mu.Unlock()
				answers[p] = now
			})
		}
	}
	asked.Wait()
	return answers
}
