package router

import (
	"context"
	"slices"

	"simpd/protocol"
)

// Watch calls BeginWatch, and waits for what is not known at once.
func (u *Connection) Watch(ctx context.Context, q protocol.WatchRequest, write func([]protocol.Notice, uint64)) error {
	later, err := u.BeginWatch(q, write)
	if later != nil {
		later(ctx)
	}
	return err
}

// BeginWatch shows the requested users as they are at one moment, and sends
// each later change. If a remote site has to be asked first, the watches have
// started when BeginWatch returns, but nothing is sent before later has shown
// the users; later waits for that site at most remoteTimeout.
func (u *Connection) BeginWatch(q protocol.WatchRequest, write func([]protocol.Notice, uint64)) (later func(context.Context), err error) {
	asked := u.newPairSet(q)
	u.r.checkStaleness()
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := u.checkLimitsLocked(asked); err != nil {
		return nil, err
	}
	u.beginChangeLocked()
	defer u.endChangeLocked()
	watches, unknown := u.addAllLocked(asked)
	if q.Contacts {
		u.followGroupsLocked(asked.groups)
	}
	if len(unknown) == 0 {
		u.showAllLocked(asked, watches, write)
		return nil, nil
	}
	return func(ctx context.Context) {
		awaitRemote(ctx, unknown)
		u.r.checkStaleness()
		h.mu.Lock()
		defer h.mu.Unlock()
		u.showAllLocked(asked, watches, write)
	}, nil
}

// addAllLocked starts the requested watches, and returns those of remote
// users whose presence is not known yet. No notice is sent before
// showAllLocked.
func (u *Connection) addAllLocked(q *pairSet) (watches []*watch, unknown []*remoteWatch) {
	h := &u.r.hub
	watches = make([]*watch, 0, q.len())
	for i, p := range q.pairs() {
		w := u.watched[p]
		if w == nil {
			w = newWatch(u, p, q.viewer(i))
			w.viaContacts = q.viaContacts[p.of]
			h.addLocked(w)
		}
		w.viaContacts = w.viaContacts && q.viaContacts[p.of]
		w.pendingAnswers++
		watches = append(watches, w)
		if f := h.remote[p]; f != nil && !f.hasAnswered() {
			unknown = append(unknown, f)
		}
		h.yieldLocked(i)
	}
	return watches, unknown
}

// showAllLocked writes the present state of the watches that addAllLocked
// started. A watch that has ended meanwhile is shown, but not continued.
func (u *Connection) showAllLocked(q *pairSet, watches []*watch, write func([]protocol.Notice, uint64)) {
	l := u.r.newPresenceReader(u.r.quorum.isStale())
	lines := make([]protocol.Notice, len(watches))
	for i, w := range watches {
		l.load(w.of)
		now := l.presenceFor(w.pair, w.viewer())
		lines[i] = u.noticeFor(now, w.pair, w)
		if l.isUnknown && l.isLocal {
			u.r.hub.shownUnknown[w.of] = struct{}{}
		}
		w.pendingAnswers--
		w.allowed, w.isOwed = l.acl.allowsViewer(w.viewer()), false
		w.sentState, w.listenerIndex, w.skipThrough = now.State, now.Index, l.view.Index()
		w.sentIndex = max(w.sentIndex, lines[i].Index)
	}
	write(lines, l.view.Index())
}

// checkLimitsLocked refuses a request that exceeds the limit of the
// connection or the memory share of its owner. It reserves memory for the new
// watches.
func (u *Connection) checkLimitsLocked(q *pairSet) error {
	n, octets := len(u.watched), 0
	for _, p := range q.pairs() {
		if u.watched[p] != nil {
			continue
		}
		if n++; n > u.maxWatches() {
			return protocol.Errorf(protocol.StatusTooLarge, "%s: a connection watches at most %d addresses", p.of, u.maxWatches())
		}
		octets += u.watchCost(p)
	}
	if octets == 0 {
		return nil
	}
	if err := u.reserveWatchesLocked(octets); err != nil {
		return err
	}
	u.peakWatches = max(u.peakWatches, n)
	return nil
}

func (u *Connection) maxWatches() int {
	if u.isRemote {
		return protocol.MaxPairs
	}
	return protocol.MaxWatched
}

// noticeFor returns the line that shows now. Its index is never below one
// shown before.
func (u *Connection) noticeFor(now protocol.Presence, p pair, w *watch) protocol.Notice {
	if w != nil && now.State.Listening() && w.sentIndex > now.Index {
		now.Index = w.sentIndex
	}
	n := protocol.Notice{Presence: now}
	if u.isRemote {
		n.By = []protocol.Address{p.by}
	}
	return n
}

// Unwatch ends watches: of the named addresses or of all, by the named
// watchers or by all.
func (u *Connection) Unwatch(q protocol.WatchRequest) {
	asked, n := u.newPairSet(q), 0
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	u.beginChangeLocked()
	defer u.endChangeLocked()
	defer u.shrinkWatchedLocked()
	if len(asked.of) > 0 && len(asked.by) > 0 && asked.len() <= len(u.watched) {
		for _, p := range asked.pairs() {
			if w := u.watched[p]; w != nil {
				h.removeLocked(w)
			}
			n = h.yieldLocked(n)
		}
		return
	}
	of, by := addressSet(q.Addresses), addressSet(q.By)
	if len(of) == 0 {
		u.unfollowGroupsLocked()
	}
	for p, w := range u.watched {
		if (len(of) == 0 || of[p.of]) && (len(by) == 0 || by[p.by]) {
			h.removeLocked(w)
		}
		n = h.yieldLocked(n)
	}
}

// addressSet returns the addresses as a set.
func addressSet(all []protocol.Address) map[protocol.Address]bool {
	set := make(map[protocol.Address]bool, len(all))
	for _, a := range all {
		set[a] = true
	}
	return set
}

// Query returns the presence of the requested users without watching them.
func (u *Connection) Query(ctx context.Context, q protocol.WatchRequest) ([]protocol.Notice, uint64, error) {
	if q.Fresh {
		if err := u.r.directory.ReadBarrier(ctx); err != nil {
			return nil, 0, protocol.Errorf(protocol.StatusUnavailable, noQuorumText)
		}
	}
	asked := u.newPairSet(q)
	answers := u.r.queryRemote(ctx, asked)
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	l := u.r.newPresenceReader(u.r.isPresenceStale() && !q.Fresh)
	lines := make([]protocol.Notice, 0, asked.len())
	for i, p := range asked.pairs() {
		now, isAnswer := answers[p]
		if v := asked.viewer(i); isAnswer {
			now = v.hideRemote(now)
		} else {
			l.load(p.of)
			now = l.presenceFor(p, v)
		}
		lines = append(lines, u.noticeFor(now, p, u.watched[p]))
	}
	return lines, l.view.Index(), nil
}

// Watchers asks all nodes who watches the user.
func (u *Connection) Watchers(ctx context.Context) ([]protocol.Address, bool, error) {
	by, partial := u.r.peers.Watchers(ctx, u.client.User)
	by = append(by, u.r.WatchersOf(u.client.User)...)
	slices.SortFunc(by, protocol.Address.Compare)
	return slices.Compact(by), partial, nil
}

// WatchersOf lists who watches a user on this node, each once. It stops when
// their addresses exceed protocol.MaxWatchersOctets.
func (r *Router) WatchersOf(user protocol.Address) []protocol.Address {
	return r.hub.watchersOf(user)
}
