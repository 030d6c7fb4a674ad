package router

import (
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
)

// remoteChanges is how often a change of one user is shown across sites: a
// change of ours to a remote domain, and one of theirs to each watcher, as such
// a site need not limit its users as this one does. Changes that come more
// often are merged into the newest, which is always shown.
var remoteChanges = rate.NewLimit(1, 20)

// remoteTarget is a user whom users of a remote domain watch.
type remoteTarget struct {
	domain string
	of     protocol.Address
}

// remoteLimit limits how often a remote domain is told changes of one user,
// over all its connections and whatever the number of those who watch. The
// hub's mutex guards it.
type remoteLimit struct {
	remoteTarget
	watches int
	bucket  rate.Bucket
	pass    uint64 // number of the walk's pass that it was asked for last
	admits  bool   // what was answered
	isDue   bool   // what was not told will be, once the bucket allows it
	index   uint64 // of the newest change that was not told
}

// holdLimit gives a remote watch its limit, until letGoLimit. h.mu is held.
func (h *hub) holdLimit(w *watch) {
	t := remoteTarget{w.u.client.Domain, w.of}
	if h.limits[t] == nil {
		h.limits[t] = &remoteLimit{remoteTarget: t}
	}
	w.limit = h.limits[t]
	w.limit.watches++
}

// letGoLimit ends what holdLimit began. h.mu is held.
func (h *hub) letGoLimit(w *watch) {
	if w.limit.watches--; w.limit.watches == 0 {
		delete(h.limits, w.limit.remoteTarget)
	}
}

// admits reports whether a remote domain may be told a change in the present
// pass: either all who watch are told, or none. If it may not, they are told in
// a later pass. h.mu is held.
func (h *hub) admits(l *remoteLimit, index uint64) bool {
	if l.pass != h.pass {
		l.pass = h.pass
		now := time.Since(h.began)
		wait := l.bucket.Wait(remoteChanges, 1, now)
		if l.admits = wait == 0; l.admits {
			l.bucket.Spend(remoteChanges, 1, now)
		} else if !l.isDue {
			l.isDue = true
			time.AfterFunc(wait, func() { h.tellDue(l) })
		}
	}
	if !l.admits {
		l.index = max(l.index, index)
	}
	return l.admits
}

// tellDue tells a remote domain what had to wait.
func (h *hub) tellDue(l *remoteLimit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.isDue = false; l.watches > 0 {
		h.tellLater(l.of, func(*walk) {})
	}
}
