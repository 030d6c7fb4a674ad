package server

import (
	"sync"
	"time"

	"simpd/protocol/budget"
)

// usage counts the octets that are held for one connection: requests that are
// not answered, messages that are not, what waits to be written, and buffers.
// They count against whoever the connection belongs to: its source until AUTH,
// then its user or its domain. It knows that party only while something is
// held, or was held lately. Any goroutine may use it.
type usage struct {
	session *session

	mu      sync.Mutex
	party   *party
	held    int // octets
	counted int // octets that the party's owner counts: held, rounded up
	pins    int // entities that the owner holds besides, see entities
}

const (
	// grain is in what steps an account counts with its owner, so that most
	// changes concern nobody else.
	grain = 2 << 10
	// smallAccount is how many octets a connection may hold although its owner
	// is above its share: HELLO, AUTH and small requests are served as long as
	// the pool is not used up.
	smallAccount = 4 << 10

	// partyTime is for how long a connection knows its party at least, so that
	// one that is busy need not look for it each time; if something is held then
	// it looks again after every busyPartyTime.
	partyTime     = 2 * time.Second
	busyPartyTime = 30 * time.Second
)

func roundUp(n int) int { return (n + grain - 1) &^ (grain - 1) }

// reserve counts n more octets, unless that is more than the owner's share.
func (u *usage) reserve(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if more := roundUp(u.held+n) - u.counted; more > 0 {
		if !u.mayCountLocked(n, more) {
			return false
		}
		u.counted += more
	}
	u.held += n
	return true
}

// mayCountLocked has the owner count more octets, for n that are needed.
func (u *usage) mayCountLocked(n, more int) bool {
	o := u.ownerLocked()
	if u.held+n <= smallAccount && o.Pool().Held()+int64(more) <= o.Pool().Limit() {
		o.Charge(more)
		return true
	}
	return o.Reserve(more)
}

// charge counts n more octets whatever the owner's share, or fewer where n is
// negative. It reports whether the pool has more than its limit.
func (u *usage) charge(n int) (exhausted bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held += n
	switch spare := u.counted - u.held; {
	case spare < 0:
		more := roundUp(u.held) - u.counted
		o := u.ownerLocked()
		o.Charge(more)
		u.counted += more
		return o.Pool().Held() > o.Pool().Limit()
	case spare > 0 && u.held == 0, spare > 4*grain:
		u.ownerLocked().Release(u.counted - roundUp(u.held))
		u.counted = roundUp(u.held)
	}
	return false
}

// mayAccept reports whether the owner may accept another message. It may spend
// half of its share on remembering those that it has accepted, so that the
// other half is left for what it asks.
func (u *usage) mayAccept() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.partyLocked()
	return p.owner.MayHold(2 * (p.accepted.Load() + generationCost))
}

// noteAccepted notes that n of the octets that are held remember an accepted
// message.
func (u *usage) noteAccepted(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.partyLocked().accepted.Add(int64(n))
}

// forgetAccepted undoes noteAccepted, and releases the octets.
func (u *usage) forgetAccepted(n int) {
	if n > 0 {
		u.noteAccepted(-n)
		u.release(n)
	}
}

// release counts n octets less.
func (u *usage) release(n int) { u.charge(-n) }

// owner returns who pays, and how many octets are held; nil if none are.
func (u *usage) owner() (*budget.Owner, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.party == nil {
		return nil, 0
	}
	return u.party.owner, u.held
}

// isOverdrawn reports whether the owner holds more than its share.
func (u *usage) isOverdrawn() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.party != nil && u.party.owner.IsOverdrawn()
}

// ownerLocked returns the owner that pays.
func (u *usage) ownerLocked() *budget.Owner { return u.partyLocked().owner }

func (u *usage) partyLocked() *party {
	if u.party == nil {
		u.party = u.session.server.parties.acquire(u.session)
		u.session.wakeAt(time.Now().Add(partyTime))
	}
	return u.party
}

// withParty calls f with the party that pays.
func (u *usage) withParty(f func(*party)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u.partyLocked())
}

// move has another party pay from now on, and for what is held: change makes
// the session that of a user or of a domain.
func (u *usage) move(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.party
	change()
	u.party = nil
	if old == nil {
		return
	}
	u.partyLocked().owner.Transfer(old.owner, u.counted)
	u.session.server.parties.drop(old)
}

// forget lets go of a party that pays for nothing now, and reports whether there
// is none any more.
func (u *usage) forget() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.party != nil && u.counted == 0 && u.pins == 0 {
		u.session.server.parties.drop(u.party)
		u.party = nil
	}
	return u.party == nil
}
