package server

import (
	"sync"
	"time"

	"simpd/protocol/budget"
)

// usage counts the octets held for one connection: unanswered requests and
// messages, queued output, and buffers. They count for the connection's
// tenant: its source until AUTH, then its user or domain. It refers to the
// tenant only while something is held or was held recently. Any goroutine may
// use it.
type usage struct {
	session *session

	mu      sync.Mutex
	tenant  *tenant
	held    int // octets
	counted int // octets that the tenant's owner counts: held, rounded up
	pins    int // entities that the owner holds besides, see entityTable
}

const (
	// grain is the step in which a connection counts with its owner, so that
	// most changes do not touch the owner.
	grain = 2 << 10
	// smallAccount is how many octets a connection may hold although its owner
	// is above its share: HELLO, AUTH and small requests are served until the
	// pool is used up.
	smallAccount = 4 << 10

	// tenantTime is how long a connection keeps its tenant at least, so that a
	// busy one need not look it up each time. If something is held then, it
	// checks again after every busyTenantTime.
	tenantTime     = 2 * time.Second
	busyTenantTime = 30 * time.Second
)

func roundUp(n int) int { return (n + grain - 1) &^ (grain - 1) }

// reserve counts n more octets, unless that exceeds the owner's share.
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

// mayCountLocked makes the owner count more octets, because n are needed.
func (u *usage) mayCountLocked(n, more int) bool {
	o := u.ownerLocked()
	if u.held+n <= smallAccount && o.Pool().Held()+int64(more) <= o.Pool().Limit() {
		o.Charge(more)
		return true
	}
	return o.Reserve(more)
}

// charge counts n more octets whatever the owner's share, or fewer if n is
// negative. It reports whether the pool exceeds its limit.
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

// canAccept reports whether the owner may accept another message. It may use
// half of its share to remember accepted messages, so that the other half
// remains for requests.
func (u *usage) canAccept() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.tenantLocked()
	return p.owner.MayHold(2 * (p.accepted.Load() + generationCost))
}

// addAccepted records that n of the held octets remember an accepted message.
func (u *usage) addAccepted(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tenantLocked().accepted.Add(int64(n))
}

// releaseAccepted undoes addAccepted, and releases the octets.
func (u *usage) releaseAccepted(n int) {
	if n > 0 {
		u.addAccepted(-n)
		u.release(n)
	}
}

// release counts n octets less.
func (u *usage) release(n int) { u.charge(-n) }

// owner returns the owner that pays and the octets held; nil without any.
func (u *usage) owner() (*budget.Owner, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tenant == nil {
		return nil, 0
	}
	return u.tenant.owner, u.held
}

// isOverdrawn reports whether the owner holds more than its share.
func (u *usage) isOverdrawn() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.tenant != nil && u.tenant.owner.IsOverdrawn()
}

// ownerLocked returns the owner that pays.
func (u *usage) ownerLocked() *budget.Owner { return u.tenantLocked().owner }

func (u *usage) tenantLocked() *tenant {
	if u.tenant == nil {
		u.tenant = u.session.server.tenants.acquire(u.session)
		u.session.wakeAt(time.Now().Add(tenantTime))
	}
	return u.tenant
}

// withTenant calls f with the tenant.
func (u *usage) withTenant(f func(*tenant)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u.tenantLocked())
}

// moveTenant transfers what is held to another tenant: change makes the
// session that of a user or a domain.
func (u *usage) moveTenant(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.tenant
	change()
	u.tenant = nil
	if old == nil {
		return
	}
	u.tenantLocked().owner.Transfer(old.owner, u.counted)
	u.session.server.tenants.release(old)
}

// dropTenant gives up the tenant if nothing is held, and reports whether
// there is none any more.
func (u *usage) dropTenant() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tenant != nil && u.counted == 0 && u.pins == 0 {
		u.session.server.tenants.release(u.tenant)
		u.tenant = nil
	}
	return u.tenant == nil
}
