package server

import (
	"sync"
	"unsafe"

	"simpd/protocol/budget"
)

// sharedEntity is how many octets an entity has at least to be counted only
// once although several sessions hold it: for less it is not worth the while.
const sharedEntity = 1 << 10

// entities counts the octets of messages that several sessions hold: in full
// for each owner, and once in the pool. An entity is known by where its octets
// are. Any goroutine may use it.
type entities struct {
	mu sync.Mutex
	of map[*byte]*entity
}

type entity struct {
	budget.Shared
	uses int
}

// reserve counts an entity for o, unless that is more than its share.
func (e *entities) reserve(o *budget.Owner, octets []byte) bool {
	key := unsafe.SliceData(octets)
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.of[key]
	if x == nil {
		x = &entity{}
		x.Init(cap(octets))
		if e.of == nil {
			e.of = make(map[*byte]*entity)
		}
	}
	if !x.Reserve(o) {
		return false
	}
	x.uses++
	e.of[key] = x
	return true
}

// release undoes one reserve.
func (e *entities) release(o *budget.Owner, octets []byte) {
	key := unsafe.SliceData(octets)
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.of[key]
	x.Release(o)
	if x.uses--; x.uses == 0 {
		delete(e.of, key)
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
