package router

import (
	"simpd/protocol"
	"simpd/store"
)

// fanoutTurnSize is how many watchers are notified before the hub's lock is
// released.
const fanoutTurnSize = 256

// fanout notifies the watchers of one user of a change. If there are many, it
// takes several turns, between which other users' changes have theirs. It
// finishes before the user's next change, since nobody may miss a change
// (SIMP.md, section 7). The hub's mutex guards it.
type fanout struct {
	of            protocol.Address
	notice        *protocol.Notice // the user's newest change, or nil
	listenerIndex uint64           // its listener's index
	index         uint64           // of the newest change of the user or of their rules
	resyncs       bool             // all watchers are shown the present state
	// refreshesUnknown shows the present state to those who were shown
	// "unknown".
	refreshesUnknown bool

	remaining int    // watchers[of][:remaining] are not yet notified in this pass
	pass      uint64 // number of the pass
	repeats   bool   // another pass is needed for those already notified in this one
}

// notifyWatchersLocked notifies the watchers of a user of a change, which add
// adds to their fanout: at once if they fit into a turn. A fanout of an
// earlier change is finished first.
func (h *hub) notifyWatchersLocked(of protocol.Address, add func(*fanout)) {
	if k := h.fanouts[of]; k != nil {
		h.finishLocked(k)
	}
	if len(h.watchers[of]) <= fanoutTurnSize {
		k := &fanout{of: of}
		add(k)
		h.finishLocked(k)
		return
	}
	h.scheduleLocked(of, add)
}

// scheduleLocked has the watchers of a user notified in turns of what add
// adds to their fanout.
func (h *hub) scheduleLocked(of protocol.Address, add func(*fanout)) {
	k := h.fanouts[of]
	if k == nil {
		k = &fanout{of: of}
		h.fanouts[of] = k
		h.queue = append(h.queue, k)
		h.wake.Notify()
	}
	add(k)
	k.repeats = k.remaining > 0
}

// finishLocked takes all remaining turns of k.
func (h *hub) finishLocked(k *fanout) {
	for !h.runTurnLocked(k) {
	}
	if h.fanouts[k.of] == k {
		delete(h.fanouts, k.of)
	}
}

// runTurnLocked notifies up to fanoutTurnSize watchers, and reports whether k
// has finished. It proceeds from the last to the first: a watcher who comes
// meanwhile is appended, and has been shown what k would tell; the place of
// one who leaves is taken by the last, who has been notified. So none is
// passed over.
func (h *hub) runTurnLocked(k *fanout) (done bool) {
	all := h.watchers[k.of]
	if k.remaining == 0 {
		h.lastPass++
		k.remaining, k.pass, k.repeats = len(all), h.lastPass, false
	}
	k.remaining = min(k.remaining, len(all))
	t := fanoutTurn{fanout: k, h: h, acl: h.r.aclOf(k.of, store.ActionPresence)}
	h.currentPass = k.pass
	for range min(fanoutTurnSize, k.remaining) {
		k.remaining--
		t.notifyWatch(all[k.remaining])
	}
	h.flushBatchesLocked()
	return k.remaining == 0 && !k.repeats
}

// runNextTurn takes a turn of the fanout that has waited longest, and reports
// whether others are waiting.
func (h *hub) runNextTurn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 || h.r.quorum.isStale() {
		return len(h.queue) > 0
	}
	k := h.dequeueLocked()
	for k != nil && h.fanouts[k.of] != k { // it was finished at once
		k = h.dequeueLocked()
	}
	switch {
	case k == nil:
	case h.runTurnLocked(k):
		delete(h.fanouts, k.of)
	default:
		h.queue = append(h.queue, k)
	}
	return len(h.queue) > 0
}

// dequeueLocked returns the fanout that has waited longest, or nil.
func (h *hub) dequeueLocked() *fanout {
	if len(h.queue) == 0 {
		return nil
	}
	k := h.queue[0]
	h.queue[0] = nil
	h.queue = h.queue[1:]
	return k
}

// runFanouts takes the turns of waiting fanouts until shutdown.
func (r *Router) runFanouts() {
	for r.ctx.Err() == nil && r.quorum.awaitFresh(r.ctx) == nil {
		if r.hub.runNextTurn() {
			continue
		}
		select {
		case <-r.hub.wake:
		case <-r.ctx.Done():
		}
	}
}

// fanoutTurn is one turn of a fanout.
type fanoutTurn struct {
	*fanout
	h    *hub
	acl  *acl
	view *store.View // made when first needed
}

// notifyWatch sends a watcher what concerns them.
func (t *fanoutTurn) notifyWatch(w *watch) {
	allowed := t.acl.allowsViewer(w.viewer())
	switch {
	case t.resyncs, w.isOwed, allowed != w.allowed, t.refreshesUnknown && w.sentState == protocol.Unknown:
		w.allowed = allowed
		t.refreshWatch(w)
	case t.notice != nil && allowed && t.notice.Index > w.skipThrough:
		w.skipThrough = t.notice.Index
		w.notifyLocked(t.notice, t.listenerIndex)
	}
}

// refreshWatch shows a watcher the present state, if it differs from what
// they were shown. The table may be ahead of the fanout: changes that it
// already contains are not sent to them again.
func (t *fanoutTurn) refreshWatch(w *watch) {
	if t.view == nil {
		view := t.h.r.config.Table.View()
		t.view = &view
	}
	now, index := protocol.Presence{Address: t.of}, t.index
	if w.allowed {
		now = t.view.Presence(t.of)
	}
	if (t.resyncs || t.refreshesUnknown) && now.Index <= w.sentIndex {
		index = t.view.Index() // now.Index would not grow; a deaf user has none
	}
	if w.isOwed {
		w.isOwed, index = false, max(index, w.limit.index)
	}
	if now.State != w.sentState || now.Index > w.listenerIndex {
		w.skipThrough = t.view.Index()
		w.notifyLocked(newNotice(now, max(index, now.Index)), now.Index)
	}
}
