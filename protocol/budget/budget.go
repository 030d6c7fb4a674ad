// Package budget accounts for memory by owner, and shares it out fairly.
//
// A Pool is the memory that all owners may hold together. An Owner is somebody
// on whose behalf memory is held: a user, a source of connections that are not
// authenticated, a remote domain, a program. An owner may hold at most a third
// of what is then left free. So one owner alone gets a quarter of the pool, k
// equally greedy ones get 1/(k+3) of it each, and there is always room for an
// owner that holds nothing. A part of the pool is reserved for owners that hold
// little: small requests are served even while others have used up the rest.
//
// All methods may be called from any goroutine, and never wait.
package budget

import (
	"sync"
	"sync/atomic"
)

const (
	reserveDivisor = 8        // the reserve is this part of a pool
	shareDivisor   = 3        // an owner may hold this part of what is left free
	smallHolding   = 16 << 10 // octets up to which an owner may use the reserve
)

// Pool is the memory, in octets, that a set of owners share.
type Pool struct {
	limit   int64
	reserve int64
	held    atomic.Int64
}

// NewPool returns a Pool of limit octets, an eighth of which is reserved for
// owners that hold at most 16 KiB.
func NewPool(limit int64) *Pool {
	return &Pool{limit: limit, reserve: limit / reserveDivisor}
}

// Held returns how many octets all owners hold together.
func (p *Pool) Held() int64 { return p.held.Load() }

// Limit returns how many octets may be held.
func (p *Pool) Limit() int64 { return p.limit }

// isFair reports whether an owner may hold held octets while all owners
// together hold all. Both include what is asked for.
func (p *Pool) isFair(held, all int64) bool {
	if held <= smallHolding {
		return all <= p.limit
	}
	return held*shareDivisor <= p.limit-p.reserve-all
}

// Owner counts the octets that are held on behalf of one owner. The zero Owner
// is not usable: NewOwner or Owners.Acquire make one.
type Owner struct {
	pool *Pool
	held atomic.Int64
}

// NewOwner returns an Owner that holds nothing.
func (p *Pool) NewOwner() *Owner { return &Owner{pool: p} }

// Reserve counts n more octets if the owner's share allows them, and reports
// whether it does. What was counted must be given back with Release.
func (o *Owner) Reserve(n int) bool {
	held, all := o.held.Add(int64(n)), o.pool.held.Add(int64(n))
	if o.pool.isFair(held, all) {
		return true
	}
	o.Release(n)
	return false
}

// Charge counts n more octets whatever the owner's share: for what can't be
// refused, such as an answer. See IsOverdrawn.
func (o *Owner) Charge(n int) {
	o.held.Add(int64(n))
	o.pool.held.Add(int64(n))
}

// Release counts n octets less.
func (o *Owner) Release(n int) {
	o.held.Add(int64(-n))
	o.pool.held.Add(int64(-n))
}

// Transfer moves n octets that from holds to o, whatever o's share: a
// connection's, for instance, once its user is known. Both share one Pool.
func (o *Owner) Transfer(from *Owner, n int) {
	from.held.Add(int64(-n))
	o.held.Add(int64(n))
}

// Held returns how many octets the owner holds.
func (o *Owner) Held() int64 { return o.held.Load() }

// Pool returns the pool that the owner shares in.
func (o *Owner) Pool() *Pool { return o.pool }

// IsOverdrawn reports whether the owner holds more than its share: then it
// should be slowed down, or cut off if the pool is used up.
func (o *Owner) IsOverdrawn() bool {
	return !o.pool.isFair(o.held.Load(), o.pool.held.Load())
}

// MayHold reports whether o's share is at least n octets, whatever o holds.
func (o *Owner) MayHold(n int64) bool { return o.pool.isFair(n, o.pool.held.Load()) }

// Owners holds the owners of one kind by their keys. An owner exists while
// somebody has acquired it.
type Owners[K comparable] struct {
	pool *Pool
	mu   sync.Mutex
	of   map[K]*counted
}

type counted struct {
	Owner
	users int
}

// NewOwners returns an empty set of owners that share in pool.
func NewOwners[K comparable](pool *Pool) *Owners[K] {
	return &Owners[K]{pool: pool, of: make(map[K]*counted)}
}

// Acquire returns the owner with the given key, the same to all who have
// acquired it. Drop must be called when it is no longer used.
func (o *Owners[K]) Acquire(key K) *Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.of[key]
	if c == nil {
		c = &counted{Owner: Owner{pool: o.pool}}
		o.of[key] = c
	}
	c.users++
	return &c.Owner
}

// Drop undoes one Acquire. What the caller has counted must be released before.
func (o *Owners[K]) Drop(key K) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.of[key]; c != nil {
		if c.users--; c.users == 0 {
			delete(o.of, key)
		}
	}
}

// Len returns how many owners there are.
func (o *Owners[K]) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.of)
}
