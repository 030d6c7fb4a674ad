package client

import (
	"simpd/protocol"
	"simpd/protocol/netaddr"
)

// partner returns what there is for a way, which is made for by if need be.
// The error is an *protocol.Error.
func (r *Relay) partner(w way, by protocol.Address) (*partner, error) {
	if err := r.Federation().Admits(w.own, w.other); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.partners[w]; p != nil {
		return p, nil
	}
	if r.closed {
		return nil, protocol.Errorf(protocol.StatusUnavailable, "this node is shutting down")
	}
	if r.tried[by] >= r.MaxTried {
		return nil, protocol.Errorf(protocol.StatusSlowDown, "%d other sites were tried for %s in the last minutes, and none of them could be reached", r.MaxTried, by)
	}
	a := r.accountLocked(w.other)
	p := newPartner(r, w, a, by)
	if err := r.seatLocked(p); err != nil {
		r.dropAccountLocked(a)
		return nil, err
	}
	p.tried = true
	r.tried[by]++
	r.partners[w] = p
	return p, nil
}

// accountLocked returns the account of a domain, for one more partner. r.mu is
// held.
func (r *Relay) accountLocked(other string) *account {
	name := netaddr.Registrable(other)
	a := r.accounts[name]
	if a == nil {
		a = &account{name: name, places: r.domains.NewOwner(), memory: r.memory.NewOwner()}
		r.accounts[name] = a
	}
	a.partners++
	return a
}

func (r *Relay) dropAccountLocked(a *account) {
	if a.partners--; a.partners == 0 {
		delete(r.accounts, a.name)
	}
}

// seatLocked gives a partner its place in the table, as the shares of the user
// for whom it is made and of its registrable domain allow. Above one of them,
// the place is that of another partner of theirs; a user who has none yet gets
// one in any case. r.mu is held.
func (r *Relay) seatLocked(p *partner) error {
	p.place = share{user: p.by}
	hers := p.place.add(r.places.owners, place)
	theirs := p.account.places.Reserve(place)
	if hers && theirs {
		return nil
	}
	newcomer, crowded := !r.holdsLocked(p.by), !theirs && p.account.partners > 1
	victim := r.victimLocked(newcomer, func(q *partner) bool {
		return crowded && q.account == p.account || !crowded && (newcomer || q.by == p.by)
	})
	if victim == nil {
		p.place.release()
		if theirs {
			p.account.places.Release(place)
		}
		return tooMany(p, crowded)
	}
	if !hers {
		p.place.charge(r.places.owners, place)
	}
	if !theirs {
		p.account.places.Charge(place)
	}
	r.evictLocked(victim)
	return nil
}

func tooMany(p *partner, crowded bool) error {
	if crowded {
		return protocol.Errorf(protocol.StatusSlowDown, "too many domains of %s are dealt with at this moment", p.account.name)
	}
	return protocol.Errorf(protocol.StatusSlowDown, "too many other sites are dealt with for %s at this moment", p.by)
}

// evictLocked has a partner closed, whose place is another's from now on. r.mu
// is held.
func (r *Relay) evictLocked(p *partner) {
	p.evicted = true
	r.wg.Go(func() {
		r.part(p, protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "too many other sites are dealt with at this moment"})
	})
}

// holdsLocked reports whether a partner was made for a user. r.mu is held.
func (r *Relay) holdsLocked(by protocol.Address) bool {
	for _, q := range r.partners {
		if q.by == by {
			return true
		}
	}
	return false
}

// victimLocked returns the partner among some that has had nothing to do for
// longest; with force, where all are busy, one of the user who has most of them;
// nil: there is none. r.mu is held.
func (r *Relay) victimLocked(force bool, among func(*partner) bool) (victim *partner) {
	held := make(map[protocol.Address]int)
	for _, q := range r.partners {
		if q.evicted || !among(q) {
			continue
		}
		held[q.by]++
		if since := q.idle.Load(); since != 0 && (victim == nil || since < victim.idle.Load()) {
			victim = q
		}
	}
	if victim != nil || !force {
		return victim
	}
	for _, q := range r.partners {
		if !q.evicted && among(q) && (victim == nil || held[q.by] > held[victim.by]) {
			victim = q
		}
	}
	return victim
}

// holdConnection counts what a connection holds, and reports whether the
// account's share allows it. An account that holds nothing gets one in any case:
// where there is no room for it, another partner makes room.
func (r *Relay) holdConnection(p *partner, n int) bool {
	a := p.account
	if a.memory.Reserve(n) {
		return true
	}
	if a.memory.Held() > 0 {
		return false
	}
	a.memory.Charge(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if victim := r.victimLocked(true, func(q *partner) bool { return q.account != a }); victim != nil && !r.closed {
		r.evictLocked(victim)
	}
	return true
}

// reached takes it that a connection to a partner came about: whoever it was
// made for may have others tried.
func (r *Relay) reached(p *partner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.untryLocked(p)
}

// untryLocked uncounts a partner, the first time. r.mu is held.
func (r *Relay) untryLocked(p *partner) {
	if !p.tried {
		return
	}
	p.tried = false
	if r.tried[p.by]--; r.tried[p.by] == 0 {
		delete(r.tried, p.by)
	}
}

// drop forgets a partner that has nothing to do.
func (r *Relay) drop(p *partner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(p)
}

// removeLocked takes a partner out of the table, the first time. r.mu is held.
func (r *Relay) removeLocked(p *partner) {
	r.untryLocked(p)
	if r.partners[p.way] != p {
		return
	}
	delete(r.partners, p.way)
	p.place.release()
	p.account.places.Release(place)
	r.dropAccountLocked(p.account)
}
