package server

import (
	"sync"

	"simpd/protocol/budget"
)

// sharedEntity is the size from which an entity that several sessions hold is
// counted only once. For smaller ones it is not worth the cost.
const sharedEntity = 1 << 10

// entityTable counts the memory of messages that several sessions hold: in
// full for each owner, and once in the pool. An entity is identified by the
// address of its octets. Any goroutine may use it.
type entityTable struct {
	mu     sync.Mutex
	byData map[*byte]*entity
}

type entity struct {
	budget.Shared
	uses int
}

// reserve counts an entity for o, unless that exceeds its share.
func (e *entityTable) reserve(o *budget.Owner, octets []byte) bool {
	key := &octets[0]
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.byData[key]
	if x == nil {
		x = &entity{}
		x.Init(cap(octets))
		if e.byData == nil {
			e.byData = make(map[*byte]*entity)
		}
	}
	if !x.Reserve(o) {
		return false
	}
	x.uses++
	e.byData[key] = x
	return true
}

// release undoes one reserve.
func (e *entityTable) release(o *budget.Owner, octets []byte) {
	key := &octets[0]
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.byData[key]
	x.Release(o)
	if x.uses--; x.uses == 0 {
		delete(e.byData, key)
	}
}

// reserveEntity counts a message's octets, and cost for what is kept with it.
func (u *usage) reserveEntity(octets []byte, cost int) bool {
	if len(octets) < sharedEntity {
		return u.reserve(cap(octets) + cost)
	}
	if !u.reserve(cost) {
		return false
	}
	u.mu.Lock()
	ok := u.session.server.entities.reserve(u.ownerLocked(), octets)
	if ok {
		u.pins++
	}
	u.mu.Unlock()
	if !ok {
		u.release(cost)
	}
	return ok
}

// releaseEntity undoes reserveEntity.
func (u *usage) releaseEntity(octets []byte, cost int) {
	if len(octets) < sharedEntity {
		u.release(cap(octets) + cost)
		return
	}
	u.mu.Lock()
	u.session.server.entities.release(u.ownerLocked(), octets)
	u.pins--
	u.mu.Unlock()
	u.release(cost)
}
