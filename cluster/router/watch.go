package router

import (
	"context"
	"slices"

	"simpd/protocol"
	"simpd/store"
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
	pairs := u.pairs(q)
	u.r.noticeStaleness()
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := u.mayWatch(pairs); err != nil {
		return nil, err
	}
	watches, unknown := u.enterAll(pairs)
	if len(unknown) == 0 {
		u.showAll(pairs, watches, write)
		return nil, nil
	}
	for _, w := range watches {
		w.pending++
	}
	return func(ctx context.Context) {
		awaitForeign(ctx, unknown)
		u.r.noticeStaleness()
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, w := range watches {
			w.pending--
		}
		u.showAll(pairs, watches, write)
	}, nil
}

// enterAll makes u watch pairs, and returns what of other sites' users is not
// known yet. The hub's mutex is held.
func (u *User) enterAll(pairs []pair) (watches []*watch, unknown []*foreign) {
	h := &u.r.hub
	watches = make([]*watch, len(pairs))
	for i, p := range pairs {
		w := u.watched[p]
		if w == nil {
			w = &watch{pair: p, u: u}
			h.enter(w)
		}
		watches[i] = w
		if f := h.foreign[p]; f != nil && !f.isKnown() {
			unknown = append(unknown, f)
		}
	}
	return watches, unknown
}

// showAll writes how pairs stand now. Those that are not watched any more are
// shown, and no more told. The hub's mutex is held.
func (u *User) showAll(pairs []pair, watches []*watch, write func([]protocol.Notice, uint64)) {
	view := u.r.Table.View()
	unknown := u.r.contact.stale()
	lines := make([]protocol.Notice, len(pairs))
	for i, p := range pairs {
		w := watches[i]
		now := u.r.see(view, p, unknown)
		lines[i] = u.line(now, p, w)
		if unknown && u.r.Local(p.of) {
			u.r.hub.veiled[p.of] = struct{}{}
		}
		w.allowed, w.owed = u.r.rights(p.of, store.Presences).allow(p.by), false
		w.state, w.seen, w.after = now.State, now.Index, view.Index()
		w.told = max(w.told, lines[i].Index)
	}
	write(lines, view.Index())
}

// mayWatch refuses pairs above a connection's limit, or above the share of
// memory of whose it is; it counts what is new. The hub's mutex is held.
func (u *User) mayWatch(pairs []pair) error {
	n, octets := len(u.watched), 0
	for _, p := range pairs {
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

// maxPairs is how many pairs a routing connection may watch.
const maxPairs = 10_000

func (u *User) mostWatched() int {
	if u.outsider {
		return maxPairs
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

// pairs lists who asks about whom. No two are the same.
func (u *User) pairs(q protocol.WatchRequest) []pair {
	of := q.Addresses
	if q.Contacts {
		of = slices.Clone(of)
		named := setOf(of)
		for _, c := range u.Contacts() {
			if !named[c.Address] {
				of = append(of, c.Address)
			}
		}
	}
	by := q.By
	if !u.outsider {
		by = []protocol.Address{u.client.User}
	}
	pairs := make([]pair, 0, len(of)*len(by))
	for _, a := range of {
		for _, b := range by {
			pairs = append(pairs, pair{by: b, of: a})
		}
	}
	return pairs
}

// see is what p.by may know of p.of in that view of the table. The hub's
// mutex is held.
func (r *Router) see(view store.View, p pair, unknown bool) protocol.Presence {
	switch {
	case !r.Local(p.of):
		if f := r.hub.foreign[p]; f != nil {
			return f.now
		}
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case unknown:
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case !r.rights(p.of, store.Presences).allow(p.by):
		return protocol.Presence{Address: p.of}
	}
	return view.Presence(p.of)
}

// Unwatch ends watching: of the addresses, or of all, by all or those named.
func (u *User) Unwatch(q protocol.WatchRequest) {
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	defer u.shrinkWatched()
	if len(q.Addresses) > 0 && (len(q.By) > 0 || !u.outsider) {
		for _, p := range u.pairs(q) {
			if w := u.watched[p]; w != nil {
				h.leave(w)
			}
		}
		return
	}
	of, by := setOf(q.Addresses), setOf(q.By)
	for p, w := range u.watched {
		if (len(of) == 0 || of[p.of]) && (len(by) == 0 || by[p.by]) {
			h.leave(w)
		}
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
	pairs := u.pairs(q)
	answers := u.r.askForeign(ctx, pairs)
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	view := u.r.Table.View()
	unknown := u.r.isStale() && !q.Fresh
	lines := make([]protocol.Notice, len(pairs))
	for i, p := range pairs {
		now, asked := answers[p]
		if !asked {
			now = u.r.see(view, p, unknown)
		}
		lines[i] = u.line(now, p, u.watched[p])
	}
	return lines, view.Index(), nil
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
