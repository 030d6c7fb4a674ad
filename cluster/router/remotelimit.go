package router

import (
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// remoteChanges limits how often a change of one user is shown across sites:
// a change of a local user to a remote domain, and a change of a remote user
// to each local watcher, since a remote site need not limit its users. More
// frequent changes are merged; the newest is always shown.
var remoteChanges = rate.NewLimit(1, 20)

// remoteTarget is a local user who is watched from a remote domain.
type remoteTarget struct {
	domain string
	of     protocol.Address
}

// remoteLimit limits how often a remote domain is told changes of one user,
// over all its connections and whatever the number of watchers. The hub's
// mutex guards it.
type remoteLimit struct {
	remoteTarget
	watches  int
	bucket   rate.Bucket
	pass     uint64 // number of the pass that asked last
	admitted bool   // the answer to that pass
	isDue    bool   // delayed notices are sent when the bucket allows it
	index    uint64 // of the newest delayed change
}

// acquireLimitLocked gives the watch of a remote viewer its limit, until
// releaseLimitLocked.
func (h *hub) acquireLimitLocked(w *watch) {
	t := remoteTarget{w.u.client.Domain, w.of}
	if h.limits[t] == nil {
		h.limits[t] = &remoteLimit{remoteTarget: t}
	}
	w.limit = h.limits[t]
	w.limit.watches++
}

// releaseLimitLocked undoes acquireLimitLocked.
func (h *hub) releaseLimitLocked(w *watch) {
	if w.limit.watches--; w.limit.watches == 0 {
		delete(h.limits, w.limit.remoteTarget)
	}
}

// admitsLocked reports whether a remote domain may be told a change in the
// current pass: all its watchers are told, or none. If not, they are told in
// a later pass.
func (h *hub) admitsLocked(l *remoteLimit, index uint64) bool {
	if l.pass != h.currentPass {
		l.pass = h.currentPass
		now := time.Since(h.began)
		wait := l.bucket.Wait(remoteChanges, 1, now)
		if l.admitted = wait == 0; l.admitted {
			l.bucket.Spend(remoteChanges, 1, now)
		} else if !l.isDue {
			l.isDue = true
			time.AfterFunc(wait, func() { h.notifyDue(l) })
		}
	}
	if !l.admitted {
		l.index = max(l.index, index)
	}
	return l.admitted
}

// notifyDue sends a remote domain the changes that its limit delayed.
func (h *hub) notifyDue(l *remoteLimit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.isDue = false; l.watches > 0 {
		h.scheduleLocked(l.of, func(*fanout) {})
	}
}
