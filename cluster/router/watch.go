package router

import (
	"context"
	"slices"

	"simpd/protocol"
)

// Watch is BeginWatch, and waits for what is not known at once.
func (u *User) Watch(ctx context.Context, q protocol.WatchRequest, write func([]protocol.Notice, uint64)) error {
	later, err := u.BeginWatch(q, write)
	if later != nil {
		later(ctx)
	}
	return err
}

// BeginWatch shows the users asked for as they are at one moment, and from then
// on tells each change of theirs. Where another site has to be asked first they
// are watched all the same when it returns, and later waits for that site, but
// no longer than foreignPatience, and then shows them; no change of theirs is
// told before.
func (u *User) BeginWatch(q protocol.WatchRequest, write func([]protocol.Notice, uint64)) (later func(context.Context), err error) {
	asked := u.question(q)
	u.r.noticeStaleness()
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := u.mayWatch(asked); err != nil {
		return nil, err
	}
	watches, unknown := u.enterAll(asked)
	if len(unknown) == 0 {
		u.showAll(asked, watches, write)
		return nil, nil
	}
	return func(ctx context.Context) {
		awaitForeign(ctx, unknown)
		u.r.noticeStaleness()
		h.mu.Lock()
		defer h.mu.Unlock()
		u.showAll(asked, watches, write)
	}, nil
}

// enterAll makes u watch what is asked, and returns what of other sites' users
// is not known yet. Nothing is told of a watch before showAll. The hub's mutex is
// held.
func (u *User) enterAll(q *question) (watches []*watch, unknown []*foreign) {
	h := &u.r.hub
	watches = make([]*watch, 0, q.len())
	for i, p := range q.all() {
		w := u.watched[p]
		if w == nil {
			w = newWatch(u, p, q.viewer(i))
			h.enter(w)
		}
		w.pending++
		watches = append(watches, w)
		if f := h.foreign[p]; f != nil && !f.isKnown() {
			unknown = append(unknown, f)
		}
		h.pause(i)
	}
	return watches, unknown
}

// showAll writes how what enterAll has entered stands now. What is not watched
// any more is shown, and no more told. The hub's mutex is held.
func (u *User) showAll(q *question, watches []*watch, write func([]protocol.Notice, uint64)) {
	l := u.r.look(u.r.contact.stale())
	lines := make([]protocol.Notice, len(watches))
	for i, w := range watches {
		l.at(w.of)
		now := l.seenBy(w.pair, w.viewer())
		lines[i] = u.line(now, w.pair, w)
		if l.unknown && l.isLocal {
			u.r.hub.veiled[w.of] = struct{}{}
		}
		w.pending--
		w.allowed, w.owed = l.rights.allowViewer(w.viewer()), false
		w.state, w.seen, w.after = now.State, now.Index, l.view.Index()
		w.told = max(w.told, lines[i].Index)
	}
	write(lines, l.view.Index())
}

// mayWatch refuses what is asked above a connection's limit, or above the share
// of memory of whose it is; it counts what is new. The hub's mutex is held.
func (u *User) mayWatch(q *question) error {
	n, octets := len(u.watched), 0
	for _, p := range q.all() {
		if u.watched[p] != nil {
			continue
		}
		if n++; n > u.mostWatched() {
			return protocol.Errorf(protocol.StatusTooLarge, "%s: a connection watches at most %d addresses", p.of, u.mostWatched())
		}
		octets += u.watchCost(p)
	}
	if octets == 0 {
		return nil
	}
	if err := u.reserveWatches(octets); err != nil {
		return err
	}
	u.mostHeld = max(u.mostHeld, n)
	return nil
}

func (u *User) mostWatched() int {
	if u.outsider {
		return protocol.MaxPairs
	}
	return protocol.MaxWatched
}

// line is a 100 line; its index is never below one shown before.
func (u *User) line(now protocol.Presence, p pair, w *watch) protocol.Notice {
	if w != nil && now.State.Listening() && w.told > now.Index {
		now.Index = w.told
	}
	n := protocol.Notice{Presence: now}
	if u.outsider {
		n.By = []protocol.Address{p.by}
	}
	return n
}

// Unwatch ends watching: of the addresses, or of all, by all or those named.
func (u *User) Unwatch(q protocol.WatchRequest) {
	asked, n := u.question(q), 0
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	defer u.shrinkWatched()
	if len(asked.of) > 0 && len(asked.by) > 0 && asked.len() <= len(u.watched) {
		for _, p := range asked.all() {
			if w := u.watched[p]; w != nil {
				h.leave(w)
			}
			n = h.pause(n)
		}
		return
	}
	of, by := setOf(q.Addresses), setOf(q.By)
	for p, w := range u.watched {
		if (len(of) == 0 || of[p.of]) && (len(by) == 0 || by[p.by]) {
			h.leave(w)
		}
		n = h.pause(n)
	}
}

// setOf returns the addresses as a set.
func setOf(all []protocol.Address) map[protocol.Address]bool {
	set := make(map[protocol.Address]bool, len(all))
	for _, a := range all {
		set[a] = true
	}
	return set
}

// Query is Watch without watching.
func (u *User) Query(ctx context.Context, q protocol.WatchRequest) ([]protocol.Notice, uint64, error) {
	if q.Fresh {
		if err := u.r.Directory.Confirm(ctx); err != nil {
			return nil, 0, protocol.Errorf(protocol.StatusUnavailable, cutOff)
		}
	}
	asked := u.question(q)
	answers := u.r.askForeign(ctx, asked)
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	l := u.r.look(u.r.isStale() && !q.Fresh)
	lines := make([]protocol.Notice, 0, asked.len())
	for i, p := range asked.all() {
		now, isAnswer := answers[p]
		if !isAnswer {
			l.at(p.of)
			now = l.seenBy(p, asked.viewer(i))
		}
		lines = append(lines, u.line(now, p, u.watched[p]))
	}
	return lines, l.view.Index(), nil
}

// Watchers asks all nodes who watches the user.
func (u *User) Watchers(ctx context.Context) ([]protocol.Address, bool, error) {
	by, partial := u.r.Peers.Watchers(ctx, u.client.User)
	by = append(by, u.r.WatchersOf(u.client.User)...)
	slices.SortFunc(by, protocol.Address.Compare)
	return slices.Compact(by), partial, nil
}

// WatchersOf lists who watches a user on this node, each once. Once their
// addresses take more than protocol.MaxWatchersOctets it adds no more.
func (r *Router) WatchersOf(user protocol.Address) []protocol.Address {
	return r.hub.watchersOf(user)
}
