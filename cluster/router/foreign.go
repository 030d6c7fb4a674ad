package router

import (
	"context"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// foreignPatience is how long WATCH and QUERY wait for another site's first
// answer before they say that the state is unknown.
const foreignPatience = 2 * time.Second

// foreign is one right to know of another site's user: asked for once,
// however many of this node's connections of that watcher want to know. The
// hub's mutex guards it.
type foreign struct {
	watches map[*watch]struct{}
	now     protocol.Presence
	known   chan struct{} // closed with the first answer
	shown   rate.Bucket   // of changes that were shown
	due     bool          // the newest will be shown, once the bucket allows it
}

// hold has w's pair watched at the other site, until letGo. h.mu is held.
func (h *hub) hold(w *watch) {
	p := w.pair
	f := h.foreign[p]
	if f == nil {
		f = &foreign{
			now: protocol.Presence{Address: p.of, State: protocol.Unknown}, known: make(chan struct{}), watches: make(map[*watch]struct{}),
		}
		h.foreign[p] = f
		h.r.Relay.Watch(p.by, p.of, func(now protocol.Presence) { h.foreignChanged(p, f, now) })
	}
	f.watches[w] = struct{}{}
}

// letGo ends what hold began. h.mu is held.
func (h *hub) letGo(w *watch) {
	f := h.foreign[w.pair]
	if delete(f.watches, w); len(f.watches) == 0 {
		delete(h.foreign, w.pair)
		h.r.Relay.Unwatch(w.by, w.of)
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
	if !f.due {
		h.showForeign(p, f)
	}
}

// showForeign shows how f is now, or has it shown as soon as that is not too
// often. h.mu is held.
func (h *hub) showForeign(p pair, f *foreign) {
	now := time.Since(h.began)
	if wait := f.shown.Wait(remoteChanges, 1, now); wait > 0 {
		f.due = true
		time.AfterFunc(wait, func() { h.showDue(p, f) })
		return
	}
	f.shown.Spend(remoteChanges, 1, now)
	for w := range f.watches {
		if w.state != f.now.State || w.seen != f.now.Index {
			w.show(notice(f.now, f.now.Index), f.now.Index)
		}
	}
}

// showDue shows what had to wait.
func (h *hub) showDue(p pair, f *foreign) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.due = false; h.foreign[p] == f {
		h.showForeign(p, f)
	}
}

// elsewhere reports whether p is another site's to answer.
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

// askForeign asks other sites for what may be known there now. It does not
// watch, but takes what is known from watching.
func (r *Router) askForeign(ctx context.Context, q *question) map[pair]protocol.Presence {
	ctx, cancel := context.WithTimeout(ctx, foreignPatience)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	answers := map[pair]protocol.Presence{}
	for _, p := range q.all() {
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
