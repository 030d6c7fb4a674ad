package router

import (
	"context"
	"slices"

	"simpd/protocol"
	"simpd/store"
)

// Watch shows the users asked for as they are at one moment, and from then on
// tells each change of theirs.
func (u *User) Watch(ctx context.Context, q protocol.WatchRequest, write func([]protocol.Notice, uint64)) error {
	pairs := u.pairs(q)
	release := u.r.awaitForeign(ctx, pairs)
	u.r.noticeStaleness()
	h := &u.r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	defer release()
	if err := u.mayWatch(pairs); err != nil {
		return err
	}
	view := u.r.Table.View()
	unknown := u.r.contact.stale()
	lines := make([]protocol.Notice, len(pairs))
	for i, p := range pairs {
		w := u.watched[p]
		if w == nil {
			w = &watch{pair: p, u: u}
			h.enter(w)
		}
		now := u.r.see(view, p, unknown)
		lines[i] = u.line(now, p, w)
		w.allowed = u.r.rights(p.of, store.Presences).allow(p.by)
		w.state, w.seen, w.after = now.State, now.Index, view.Index()
		w.told = max(w.told, lines[i].Index)
	}
	write(lines, view.Index())
	return nil
}

// mayWatch refuses pairs above a connection's limit; the hub's mutex is held.
func (u *User) mayWatch(pairs []pair) error {
	n := len(u.watched)
	for _, p := range pairs {
		if u.watched[p] != nil {
			continue
		}
		if n++; n > u.mostWatched() {
			return protocol.Errorf(protocol.StatusTooLarge, "%s: a connection watches at most %d addresses", p.of, u.mostWatched())
		}
	}
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

// pairs lists who asks about whom.
func (u *User) pairs(q protocol.WatchRequest) []pair {
	of := q.Addresses
	if q.Contacts {
		of = slices.Clone(of)
		for _, c := range u.Contacts() {
			if !slices.Contains(of, c.Address) {
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
	for p, w := range u.watched {
		if (len(q.Addresses) == 0 || slices.Contains(q.Addresses, p.of)) &&
			(len(q.By) == 0 || slices.Contains(q.By, p.by)) {
			h.leave(w)
		}
	}
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

// WatchersOf lists who watches a user on this node.
func (r *Router) WatchersOf(user protocol.Address) []protocol.Address {
	return r.hub.watchersOf(user)
}
