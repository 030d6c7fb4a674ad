package router

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// hub tells this node's watchers what the table's changes mean for them.
// Nothing of it crosses the network: each node tells its own.
type hub struct {
	r     *Router
	began time.Time // the zero of its buckets

	mu       sync.Mutex
	owners   watchOwners
	watchers map[protocol.Address][]*watch
	count    int // of watches
	foreign  map[pair]*foreign
	crowds   map[crowd][]protocol.Address // who is about to be told the same; empty but while h.mu is held
	limits   map[remoteTarget]*remoteLimit
	veiled   map[protocol.Address]struct{} // this site's users of whom somebody was told that they can't be known

	walks  map[protocol.Address]*walk // that are not at their end
	queue  []*walk                    // likewise, in the order of their turns, and some that are
	wake   chan struct{}              // says that queue is not empty
	passes uint64                     // that were begun
	pass   uint64                     // number of the one that is going on
}

// pair is a right to know: by watches of.
type pair struct{ by, of protocol.Address }

// watch is one connection's watching of one user. All of it is guarded by the
// hub's mutex.
type watch struct {
	pair
	u       *User
	session protocol.Session // u's, or nil where an outsider's crowd is told
	limit   *remoteLimit     // nil: of a user of this site
	place   int              // in watchers[of]
	local   bool             // by is of this site
	key     protocol.Address // as what rules compare by
	pending int              // answers to WATCH that will show it: until then nothing is told

	allowed bool           // the rules let by see it, when last looked at
	owed    bool           // a change was not told, by limit
	state   protocol.State // as it was last shown
	seen    uint64         // the listener's index of what was last shown; 0 if deaf or unknown
	told    uint64         // the index last shown
	after   uint64         // only later changes are told
}

func newWatch(u *User, p pair, by viewer) *watch {
	return &watch{pair: p, u: u, key: by.key, local: by.isLocal}
}

func (w *watch) viewer() viewer { return viewer{w.by, w.key, w.local} }

func (h *hub) init(r *Router) {
	h.r, h.began = r, time.Now()
	h.owners = newWatchOwners(r.WatchMemory)
	h.watchers = map[protocol.Address][]*watch{}
	h.foreign = map[pair]*foreign{}
	h.limits = map[remoteTarget]*remoteLimit{}
	h.veiled = map[protocol.Address]struct{}{}
	h.walks = map[protocol.Address]*walk{}
	h.wake = make(chan struct{}, 1)
	h.crowds = map[crowd][]protocol.Address{}
}

// enter makes w watch. h.mu is held.
func (h *hub) enter(w *watch) {
	if w.u.watched == nil {
		w.u.watched = map[pair]*watch{}
	}
	h.keepAddresses(w)
	w.u.watched[w.pair] = w
	if w.u.outsider {
		h.holdLimit(w)
	} else {
		w.session = w.u.session
	}
	w.place = len(h.watchers[w.of])
	h.watchers[w.of] = append(h.watchers[w.of], w)
	h.count++
	if h.r.elsewhere(w.pair) {
		h.hold(w)
	}
}

// keepAddresses has w keep as little text as can be. h.mu is held.
func (h *hub) keepAddresses(w *watch) {
	if all := h.watchers[w.of]; len(all) > 0 {
		w.of = all[0].of
	} else {
		w.of = cloned(w.of)
	}
	if w.u.outsider {
		by := cloned(w.by)
		if w.key == w.by {
			w.key = by
		} else {
			w.key = cloned(w.key)
		}
		w.by = by
	}
}

// ruleKey returns as what by compares with rules. A user's own is made once.
func (u *User) ruleKey(by protocol.Address, isLocal bool) protocol.Address {
	if u.outsider {
		return by.RuleKey(isLocal)
	}
	if u.key.IsZero() {
		u.key = by.RuleKey(isLocal)
	}
	return u.key
}

// leave ends w. h.mu is held.
func (h *hub) leave(w *watch) {
	delete(w.u.watched, w.pair)
	w.u.releaseWatch(w.pair)
	if w.limit != nil {
		h.letGoLimit(w)
	}
	h.count--
	if h.r.elsewhere(w.pair) {
		h.letGo(w)
	}
	all := h.watchers[w.of]
	last := all[len(all)-1]
	all[w.place], last.place = last, w.place
	all[len(all)-1] = nil
	if all = all[:len(all)-1]; len(all) == 0 {
		delete(h.watchers, w.of)
		return
	}
	h.watchers[w.of] = all
}

// forget ends all that u watches.
func (h *hub) forget(u *User) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range u.watched {
		h.leave(w)
	}
}

// changed tells a change of what can be seen of a user.
func (h *hub) changed(e *store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers[e.Address]) == 0 {
		return
	}
	h.tellWatchers(e.Address, func(k *walk) {
		now := presenceOf(e.Address, e.After)
		k.notice, k.seen, k.index = notice(now, e.Index), now.Index, e.Index
	})
}

// rulesChanged tells those who may see more now, or less, than before. What
// they see bears the rule's index.
func (h *hub) rulesChanged(e *store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers[e.Address]) > 0 {
		h.tellWatchers(e.Address, func(k *walk) { k.index = e.Index })
	}
}

// resync shows everybody how things stand.
func (h *hub) resync() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for of := range h.watchers {
		if h.r.Local(of) {
			h.tellLater(of, func(k *walk) { k.isAnew = true })
		}
		n = h.pause(n)
	}
}

// unveil shows those who were told that a state can't be known what it is.
// All others are told what they missed, change by change.
func (h *hub) unveil() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for of := range h.veiled {
		delete(h.veiled, of)
		h.tellWatchers(of, func(k *walk) { k.unveils = true })
		n = h.pause(n)
	}
}

// pause lets others have the lock, once in a while, in the midst of n things
// that are done with it. It returns n+1. A map may be ranged over meanwhile: what
// comes into it then need not be seen. h.mu is held.
func (h *hub) pause(n int) int {
	if n++; n%turnSize == 0 {
		h.mu.Unlock()
		h.mu.Lock()
	}
	return n
}

// show tells the watcher, unless that is too often. The hub's mutex is held.
func (w *watch) show(n *protocol.Notice, seen uint64) {
	if w.pending > 0 {
		return
	}
	if w.limit != nil && !w.u.r.hub.admits(w.limit, n.Index) {
		w.owed = true
		return
	}
	w.state, w.seen, w.told = n.State, seen, n.Index
	if w.session == nil {
		w.u.r.hub.gather(w, n)
		return
	}
	w.session.Notify(n)
}

// presenceOf is what may be seen of a user by those who may see everything.
func presenceOf(a protocol.Address, l *store.Listener) protocol.Presence {
	if l == nil {
		return protocol.Presence{Address: a}
	}
	return l.Presence()
}

// notice is a presence as a change with that index.
func notice(p protocol.Presence, index uint64) *protocol.Notice {
	p.Index = index
	return &protocol.Notice{Presence: p}
}

// watchersOf lists who watches a user on this node.
func (h *hub) watchersOf(of protocol.Address) (by []protocol.Address) {
	n, octets, named := 0, 0, map[protocol.Address]bool{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.watchers[of]) - 1; i >= 0; i-- {
		// Meanwhile some may come, at the end, and some go, in whose place the
		// last one is put: none that stays is passed over.
		if i = min(i, len(h.watchers[of])-1); i < 0 {
			break
		}
		if a := h.watchers[of][i].by; !named[a] {
			named[a] = true
			by = append(by, a)
			octets += len(a.String())
		}
		if octets > protocol.MaxWatchersOctets {
			break
		}
		n = h.pause(n)
	}
	return by
}

// connections lists the connections that watch somebody.
func (h *hub) connections() []*User {
	all, n := h.r.users.all(), 0
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(all, func(u *User) bool {
		n = h.pause(n)
		return len(u.watched) == 0
	})
}
