package router

import (
	"context"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// remoteTimeout is how long WATCH and QUERY wait for another site's first
// answer before they report the state as unknown.
const remoteTimeout = 2 * time.Second

// remoteWatch is the watch of one remote user by one local user. The remote
// site is asked once, whatever the number of this node's connections of the
// watcher. The hub's mutex guards it.
type remoteWatch struct {
	watches  map[*watch]struct{}
	presence protocol.Presence
	answered chan struct{} // closed at the first answer
	limiter  rate.Bucket   // limits the changes that are shown
	isDue    bool          // the newest change is shown when the limiter allows it

	keys       *protocol.KeyNotice // the newest change of keys, which is shown when keyLimiter allows it; nil: none
	keyLimiter rate.Bucket
}

// acquireRemoteLocked has w's pair watched at the remote site until
// releaseRemoteLocked.
func (h *hub) acquireRemoteLocked(w *watch) {
	p := w.pair
	f := h.remote[p]
	if f == nil {
		f = &remoteWatch{
			presence: protocol.Presence{Address: p.of, State: protocol.Unknown}, answered: make(chan struct{}), watches: make(map[*watch]struct{}),
		}
		h.remote[p] = f
		h.r.config.Relay.Watch(p.by, p.of, func(now protocol.Presence) { h.onRemoteChange(p, f, now) })
	}
	f.watches[w] = struct{}{}
}

// releaseRemoteLocked undoes acquireRemoteLocked.
func (h *hub) releaseRemoteLocked(w *watch) {
	f := h.remote[w.pair]
	if delete(f.watches, w); len(f.watches) == 0 {
		delete(h.remote, w.pair)
		h.r.config.Relay.Unwatch(w.by, w.of)
	}
}

// onRemoteChange records a presence that the remote site reported, and shows
// it.
func (h *hub) onRemoteChange(p pair, f *remoteWatch, now protocol.Presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.remote[p] != f {
		return // a late word on what nobody watches any more
	}
	f.presence = now
	if !f.hasAnswered() {
		close(f.answered)
	}
	if !f.isDue {
		h.showRemoteLocked(p, f)
	}
}

// showRemoteLocked shows the present state of f to its watchers, now or when
// the limiter allows it.
func (h *hub) showRemoteLocked(p pair, f *remoteWatch) {
	now := time.Since(h.began)
	if wait := f.limiter.Wait(remoteChanges, 1, now); wait > 0 {
		f.isDue = true
		time.AfterFunc(wait, func() { h.showDueRemote(p, f) })
		return
	}
	f.limiter.Spend(remoteChanges, 1, now)
	for w := range f.watches {
		w.showRemoteLocked(f.presence)
	}
}

// showDueRemote shows a change that showRemoteLocked delayed.
func (h *hub) showDueRemote(p pair, f *remoteWatch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.isDue = false; h.remote[p] == f {
		h.showRemoteLocked(p, f)
	}
}

// isRemotePair reports whether p is a remote user watched by a local one.
func (r *Router) isRemotePair(p pair) bool {
	return r.config.Relay != nil && !r.Local(p.of) && !p.of.IsLiteral() && r.Local(p.by)
}

// hasAnswered reports whether the remote site has answered at all.
func (f *remoteWatch) hasAnswered() bool {
	select {
	case <-f.answered:
		return true
	default:
		return false
	}
}

// awaitRemote waits for the first answers of remote sites, at most
// remoteTimeout.
func awaitRemote(ctx context.Context, all []*remoteWatch) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	for _, f := range all {
		select {
		case <-f.answered:
		case <-ctx.Done():
		}
	}
}

// queryRemote asks remote sites for the presence of those pairs that are
// theirs. It starts no watch, but uses what is known from watches.
func (r *Router) queryRemote(ctx context.Context, q *pairSet) map[pair]protocol.Presence {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	answers := map[pair]protocol.Presence{}
	for _, p := range q.pairs() {
		if r.isRemotePair(p) {
			asked.Go(func() {
				now := r.config.Relay.Query(ctx, p.by, p.of)
				mu.Lock()
				defer mu.Unlock()
				answers[p] = now
			})
		}
	}
	asked.Wait()
	return answers
}
