package router

import (
	"simpd/protocol"
	"simpd/store"
)

// turnSize is how many watchers are looked at before others get the hub's lock.
const turnSize = 256

// walk has the watchers of one user told what changed. Where they are many that
// takes several turns, between which other users' changes have theirs. Before
// the user's next change it is taken to its end, as nobody may miss a change
// (SIMP.md, section 7). The hub's mutex guards it.
type walk struct {
	of     protocol.Address
	notice *protocol.Notice // the newest change of the user; nil: none
	seen   uint64           // its listener's index
	index  uint64           // of the newest change of the user or of the user's rules
	isAnew bool             // everybody is shown how the user stands
	// unveils says that those are shown it who were told that it is not known.
	unveils bool

	rest  int    // watchers[of][:rest] are still to be told in this pass
	pass  uint64 // its number
	again bool   // there is something new for those who were told in this pass
}

// tellWatchers has the watchers of a user told a change, which add adds to their
// walk: at once if they fit into a turn. What was to be told before is. h.mu is
// held.
func (h *hub) tellWatchers(of protocol.Address, add func(*walk)) {
	if k := h.walks[of]; k != nil {
		h.finish(k)
	}
	if len(h.watchers[of]) <= turnSize {
		k := &walk{of: of}
		add(k)
		h.finish(k)
		return
	}
	h.tellLater(of, add)
}

// tellLater has the watchers of a user told in turns what add adds to their walk.
// h.mu is held.
func (h *hub) tellLater(of protocol.Address, add func(*walk)) {
	k := h.walks[of]
	if k == nil {
		k = &walk{of: of}
		h.walks[of] = k
		h.queue = append(h.queue, k)
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	add(k)
	k.again = k.rest > 0
}

// finish takes all turns of k. h.mu is held.
func (h *hub) finish(k *walk) {
	for !h.takeTurn(k) {
	}
	if h.walks[k.of] == k {
		delete(h.walks, k.of)
	}
}

// takeTurn tells up to turnSize watchers, and reports whether k is at its end.
// It goes from the last to the first: who comes meanwhile is at the end, and was
// shown what k would tell; and who takes the place of one who goes is the last.
// So none is passed over. h.mu is held.
func (h *hub) takeTurn(k *walk) (done bool) {
	all := h.watchers[k.of]
	if k.rest == 0 {
		h.passes++
		k.rest, k.pass, k.again = len(all), h.passes, false
	}
	k.rest = min(k.rest, len(all))
	t := turn{walk: k, h: h, rights: h.r.rights(k.of, store.Presences)}
	h.pass = k.pass
	for range min(turnSize, k.rest) {
		k.rest--
		t.tell(all[k.rest])
	}
	h.tellCrowds()
	return k.rest == 0 && !k.again
}

// nextTurn takes a turn of the walk that has waited longest, and reports whether
// others wait.
func (h *hub) nextTurn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 || h.r.contact.stale() {
		return len(h.queue) > 0
	}
	k := h.dequeue()
	for k != nil && h.walks[k.of] != k { // it was finished at once
		k = h.dequeue()
	}
	switch {
	case k == nil:
	case h.takeTurn(k):
		delete(h.walks, k.of)
	default:
		h.queue = append(h.queue, k)
	}
	return len(h.queue) > 0
}

// dequeue takes the walk that has waited longest, or nil. h.mu is held.
func (h *hub) dequeue() *walk {
	if len(h.queue) == 0 {
		return nil
	}
	k := h.queue[0]
	h.queue[0] = nil
	h.queue = h.queue[1:]
	return k
}

// tellInTurns takes the turns of those walks that wait, until shutdown.
func (r *Router) tellInTurns() {
	for r.ctx.Err() == nil && r.contact.awaitFresh(r.ctx) == nil {
		if r.hub.nextTurn() {
			continue
		}
		select {
		case <-r.hub.wake:
		case <-r.ctx.Done():
		}
	}
}

// turn is one turn of a walk.
type turn struct {
	*walk
	h      *hub
	rights *rights
	view   *store.View // made when it is needed
}

// tell tells a watcher what concerns them.
func (t *turn) tell(w *watch) {
	allowed := t.rights.allowViewer(w.viewer())
	switch {
	case t.isAnew, w.owed, allowed != w.allowed, t.unveils && w.state == protocol.Unknown:
		w.allowed = allowed
		t.show(w)
	case t.notice != nil && allowed && t.notice.Index > w.after:
		w.after = t.notice.Index
		w.show(t.notice, t.seen)
	}
}

// show shows a watcher how the user stands, if that is not what they were shown.
// The table may be ahead of what has been told: of the changes in it nothing
// more is told to them.
func (t *turn) show(w *watch) {
	if t.view == nil {
		view := t.h.r.Table.View()
		t.view = &view
	}
	now, index := protocol.Presence{Address: t.of}, t.index
	if w.allowed {
		now = t.view.Presence(t.of)
	}
	if t.isAnew || t.unveils {
		index = t.view.Index()
	}
	if w.owed {
		w.owed, index = false, max(index, w.limit.index)
	}
	if now.State != w.state || now.Index > w.seen {
		w.after = t.view.Index()
		w.show(notice(now, max(index, now.Index)), now.Index)
	}
}
