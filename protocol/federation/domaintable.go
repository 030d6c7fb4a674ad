package federation

import (
	"simpd/protocol"
	"simpd/protocol/netaddr"
)

// remoteDomain returns the remoteDomain of a pair, creating it for owner if
// necessary. The error is a *protocol.Error.
func (r *Relay) remoteDomain(w domainPair, by protocol.Address) (*remoteDomain, error) {
	if err := r.config.Federation().CheckAllowed(w.local, w.remote); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.remotes[w]; p != nil {
		return p, nil
	}
	if r.closed {
		return nil, protocol.Errorf(protocol.StatusUnavailable, "this node is shutting down")
	}
	if r.attempts[by] >= r.limits.Tried {
		return nil, slowDown(60, "%d other sites were tried for %s in the last minutes, and none of them could be reached", r.limits.Tried, by)
	}
	a := r.registrantLocked(w.remote)
	p := newRemoteDomain(r, w, a, by)
	if err := r.reservePlaceLocked(p); err != nil {
		r.dropRegistrantLocked(a)
		return nil, err
	}
	p.attemptCounted = true
	r.attempts[by]++
	r.remotes[w] = p
	return p, nil
}

// registrantLocked returns the registrant of a domain, for one more
// remoteDomain.
func (r *Relay) registrantLocked(other string) *registrant {
	name := netaddr.Registrable(other)
	a := r.registrants[name]
	if a == nil {
		a = &registrant{name: name, placeShare: r.domainPool.NewOwner(), memoryShare: r.memoryPool.NewOwner()}
		r.registrants[name] = a
	}
	a.domains++
	return a
}

func (r *Relay) dropRegistrantLocked(a *registrant) {
	if a.domains--; a.domains == 0 {
		delete(r.registrants, a.name)
	}
}

// reservePlaceLocked reserves a place in the table, as the shares of the
// owner and of the registrable domain allow. Above one of them, it takes the
// place of another remoteDomain of theirs; a user who has none yet always
// gets one.
func (r *Relay) reservePlaceLocked(p *remoteDomain) error {
	p.placeShare = userShare{user: p.owner}
	hers := p.placeShare.reserve(r.placeShares.owners, placeOctets)
	theirs := p.registrant.placeShare.Reserve(placeOctets)
	if hers && theirs {
		return nil
	}
	newcomer, crowded := !r.hasDomainLocked(p.owner), !theirs && p.registrant.domains > 1
	victim := r.victimLocked(newcomer, func(q *remoteDomain) bool {
		return crowded && q.registrant == p.registrant || !crowded && (newcomer || q.owner == p.owner)
	})
	if victim == nil {
		p.placeShare.release()
		if theirs {
			p.registrant.placeShare.Release(placeOctets)
		}
		return placeError(p, crowded)
	}
	if !hers {
		p.placeShare.charge(r.placeShares.owners, placeOctets)
	}
	if !theirs {
		p.registrant.placeShare.Charge(placeOctets)
	}
	r.evictLocked(victim)
	return nil
}

// slowDown returns a 429 that says after how many seconds to try again.
func slowDown(seconds int, format string, args ...any) error {
	e := protocol.Errorf(protocol.StatusSlowDown, format, args...)
	e.Retry = seconds
	return e
}

func placeError(p *remoteDomain, crowded bool) error {
	if crowded {
		return slowDown(shareRetry, "too many domains of %s are dealt with at this moment", p.registrant.name)
	}
	return slowDown(shareRetry, "too many other sites are dealt with for %s at this moment", p.owner)
}

// evictLocked starts to close a remoteDomain whose place is given to another.
func (r *Relay) evictLocked(p *remoteDomain) {
	p.evicted = true
	r.wg.Go(func() {
		r.closeDomain(p, protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "too many other sites are dealt with at this moment"})
	})
}

// hasDomainLocked reports whether a remoteDomain was created for a user.
func (r *Relay) hasDomainLocked(by protocol.Address) bool {
	for _, q := range r.remotes {
		if q.owner == by {
			return true
		}
	}
	return false
}

// victimLocked returns the remoteDomain among some that has been idle
// longest. If all are busy and force is set, it returns one of the user who
// has most; otherwise nil.
func (r *Relay) victimLocked(force bool, among func(*remoteDomain) bool) (victim *remoteDomain) {
	held := make(map[protocol.Address]int)
	for _, q := range r.remotes {
		if q.evicted || !among(q) {
			continue
		}
		held[q.owner]++
		if since := q.idleSince.Load(); since != 0 && (victim == nil || since < victim.idleSince.Load()) {
			victim = q
		}
	}
	if victim != nil || !force {
		return victim
	}
	for _, q := range r.remotes {
		if !q.evicted && among(q) && (victim == nil || held[q.owner] > held[victim.owner]) {
			victim = q
		}
	}
	return victim
}

// reserveConnection reserves the memory of a connection, and reports whether
// the registrant's share allows it. A registrant that holds nothing always
// gets one: if there is no room, another remoteDomain is evicted.
func (r *Relay) reserveConnection(p *remoteDomain, n int) bool {
	a := p.registrant
	if a.memoryShare.Reserve(n) {
		return true
	}
	if a.memoryShare.Held() > 0 {
		return false
	}
	a.memoryShare.Charge(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if victim := r.victimLocked(true, func(q *remoteDomain) bool { return q.registrant != a }); victim != nil && !r.closed {
		r.evictLocked(victim)
	}
	return true
}

// onConnected records that a connection was established, so that its owner
// may try another domain.
func (r *Relay) onConnected(p *remoteDomain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseAttemptLocked(p)
}

// releaseAttemptLocked stops counting p as an attempt.
func (r *Relay) releaseAttemptLocked(p *remoteDomain) {
	if !p.attemptCounted {
		return
	}
	p.attemptCounted = false
	if r.attempts[p.owner]--; r.attempts[p.owner] == 0 {
		delete(r.attempts, p.owner)
	}
}

// remove removes a remoteDomain that has nothing to do.
func (r *Relay) remove(p *remoteDomain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(p)
}

// removeLocked removes a remoteDomain from the table. It may be called more
// than once.
func (r *Relay) removeLocked(p *remoteDomain) {
	r.releaseAttemptLocked(p)
	if r.remotes[p.domainPair] != p {
		return
	}
	delete(r.remotes, p.domainPair)
	p.placeShare.release()
	p.registrant.placeShare.Release(placeOctets)
	r.dropRegistrantLocked(p.registrant)
}
