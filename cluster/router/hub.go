package router

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
	"simpd/store"
)

// hub tells this node's watchers what the table's changes mean for them.
// Nothing of it crosses the network: each node tells its own watchers.
type hub struct {
	r     *Router
	began time.Time // the zero of its buckets

	mu           sync.Mutex
	owners       watchOwners
	watchers     map[protocol.Address][]*watch
	watchCount   int // number of watches
	remote       map[pair]*remoteWatch
	batches      map[noticeBatch][]protocol.Address // watchers about to receive the same notice; empty unless mu is held
	limits       map[remoteTarget]*remoteLimit
	shownUnknown map[protocol.Address]struct{} // local users who were shown as unknown to somebody

	groupsChanged wait.Signal // signals that contact groups have changed
	onYield       func()      // is called by yieldLocked without the lock; nil except in tests

	fanouts     map[protocol.Address]*fanout // unfinished fanouts
	queue       []*fanout                    // fanouts in the order of their turns; may hold some that have finished
	wake        wait.Signal                  // signals that queue is not empty
	lastPass    uint64                       // number of the pass that began last
	currentPass uint64                       // number of the pass that is running
}

// pair names a watcher, by, and the user whom they watch, of.
type pair struct{ by, of protocol.Address }

// watch is one connection's watch of one user. The hub's mutex guards all of
// it.
type watch struct {
	pair
	u              *Connection
	session        protocol.Session // u's session, or nil for a routing connection, which is told in batches
	limit          *remoteLimit     // nil for a local user
	slot           int              // position in watchers[of]
	local          bool             // by is a local user
	viaContacts    bool             // u watches the user only as a contact: no WATCH has named them
	key            protocol.Address // the form of by that rules are compared with
	pendingAnswers int              // WATCH requests whose answer will show the state; no notice is sent before

	blocked       bool           // operators block by, or the connection, when last evaluated
	wasHidden     bool           // a remote user was shown as deaf because of a block
	allowed       bool           // the rules let by see it, when last evaluated
	isOwed        bool           // limit delayed a change
	sentState     protocol.State // the state last shown
	listenerIndex uint64         // index of the listener last shown; 0 if deaf or unknown
	sentIndex     uint64         // the index last shown
	skipThrough   uint64         // changes up to this index are not sent
}

func newWatch(u *Connection, p pair, by viewer) *watch {
	return &watch{pair: p, u: u, key: by.key, local: by.isLocal, blocked: u.blocks(p.by)}
}

func (w *watch) viewer() viewer { return viewer{w.by, w.key, w.local, w.blocked} }

func (h *hub) init(r *Router) {
	h.r, h.began = r, time.Now()
	h.owners = newWatchOwners(r.config.WatchMemory)
	h.watchers = map[protocol.Address][]*watch{}
	h.remote = map[pair]*remoteWatch{}
	h.limits = map[remoteTarget]*remoteLimit{}
	h.shownUnknown = map[protocol.Address]struct{}{}
	h.fanouts = map[protocol.Address]*fanout{}
	h.wake = wait.NewSignal()
	h.groupsChanged = wait.NewSignal()
	h.batches = map[noticeBatch][]protocol.Address{}
}

// addLocked starts the watch w.
func (h *hub) addLocked(w *watch) {
	if w.u.watched == nil {
		w.u.watched = map[pair]*watch{}
	}
	h.internAddressesLocked(w)
	w.u.watched[w.pair] = w
	if w.u.isRemote {
		h.acquireLimitLocked(w)
	} else {
		w.session = w.u.session
	}
	w.slot = len(h.watchers[w.of])
	h.watchers[w.of] = append(h.watchers[w.of], w)
	h.watchCount++
	if h.r.isRemotePair(w.pair) {
		h.acquireRemoteLocked(w)
	}
}

// internAddressesLocked makes w share or copy its addresses, so that it keeps
// no longer text in memory.
func (h *hub) internAddressesLocked(w *watch) {
	if all := h.watchers[w.of]; len(all) > 0 {
		w.of = all[0].of
	} else {
		w.of = cloned(w.of)
	}
	if w.u.isRemote {
		by := cloned(w.by)
		if w.key == w.by {
			w.key = by
		} else {
			w.key = cloned(w.key)
		}
		w.by = by
	}
}

// ruleKey returns the form of by that rules are compared with. A user's own
// key is computed once.
func (u *Connection) ruleKey(by protocol.Address, isLocal bool) protocol.Address {
	if u.isRemote {
		return by.RuleKey(isLocal)
	}
	if u.ownRuleKey.IsZero() {
		u.ownRuleKey = by.RuleKey(isLocal)
	}
	return u.ownRuleKey
}

// removeLocked ends the watch w.
func (h *hub) removeLocked(w *watch) {
	delete(w.u.watched, w.pair)
	w.u.releaseWatchLocked(w.pair)
	if w.limit != nil {
		h.releaseLimitLocked(w)
	}
	h.watchCount--
	if h.r.isRemotePair(w.pair) {
		h.releaseRemoteLocked(w)
	}
	all := h.watchers[w.of]
	last := all[len(all)-1]
	all[w.slot], last.slot = last, w.slot
	all[len(all)-1] = nil
	if all = all[:len(all)-1]; len(all) == 0 {
		delete(h.watchers, w.of)
		return
	}
	h.watchers[w.of] = all
}

// removeUser ends all watches of u.
func (h *hub) removeUser(u *Connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u.unfollowGroupsLocked()
	for _, w := range u.watched {
		h.removeLocked(w)
	}
}

// onPresenceChange notifies the watchers of a user whose visible presence
// changed.
func (h *hub) onPresenceChange(e *store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers[e.Address]) == 0 {
		return
	}
	h.notifyWatchersLocked(e.Address, func(k *fanout) {
		now := presenceOf(e.Address, e.After)
		k.notice, k.listenerIndex, k.index = newNotice(now, e.Index), now.Index, e.Index
	})
}

// onRulesChange notifies the watchers who may see more or less of a user than
// before. These notices carry the index of the rule.
func (h *hub) onRulesChange(e *store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers[e.Address]) > 0 {
		h.notifyWatchersLocked(e.Address, func(k *fanout) { k.index = e.Index })
	}
}

// resyncWatchers shows all watchers the present state of the users whom they
// watch.
func (h *hub) resyncWatchers() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for of := range h.watchers {
		if h.r.Local(of) {
			h.scheduleLocked(of, func(k *fanout) { k.resyncs = true })
		}
		n = h.yieldLocked(n)
	}
}

// refreshUnknown shows the present state to watchers who were shown
// "unknown". All other watchers receive the changes that were held back, one
// by one.
func (h *hub) refreshUnknown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for of := range h.shownUnknown {
		delete(h.shownUnknown, of)
		h.notifyWatchersLocked(of, func(k *fanout) { k.refreshesUnknown = true })
		n = h.yieldLocked(n)
	}
}

// yieldLocked releases the lock for a moment after each fanoutTurnSize of n
// steps, so that others can have it. It returns n+1. A map may be ranged over
// meanwhile; entries added during the range may be missed.
func (h *hub) yieldLocked(n int) int {
	if n++; n%fanoutTurnSize == 0 {
		h.mu.Unlock()
		if h.onYield != nil {
			h.onYield()
		}
		h.mu.Lock()
	}
	return n
}

// notifyLocked sends n to the watcher unless the answer to a WATCH will show
// it, or the limit of a remote domain delays it.
func (w *watch) notifyLocked(n *protocol.Notice, seen uint64) {
	if w.pendingAnswers > 0 {
		return
	}
	if w.limit != nil && !w.u.r.hub.admitsLocked(w.limit, n.Index) {
		w.isOwed = true
		return
	}
	w.sentState, w.listenerIndex, w.sentIndex = n.State, seen, n.Index
	if w.session == nil {
		w.u.r.hub.addToBatchLocked(w, n)
		return
	}
	w.session.Notify(n)
}

// presenceOf returns the presence of a user without regard to rules.
func presenceOf(a protocol.Address, l *store.Listener) protocol.Presence {
	if l == nil {
		return protocol.Presence{Address: a}
	}
	return l.Presence()
}

// newNotice returns p as a change with that index.
func newNotice(p protocol.Presence, index uint64) *protocol.Notice {
	p.Index = index
	return &protocol.Notice{Presence: p}
}

// watchersOf lists who watches a user on this node, each once.
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
		n = h.yieldLocked(n)
	}
	return by
}

// watchingUsers lists the connections that watch anybody.
func (h *hub) watchingUsers() []*Connection {
	all, n := h.r.users.all(), 0
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(all, func(u *Connection) bool {
		n = h.yieldLocked(n)
		return len(u.watched) == 0
	})
}
