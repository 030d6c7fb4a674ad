package store

import (
	"hash/maphash"
	"math/bits"
)

// hashIndex finds listeners by their addresses. It is a hash table with open
// addressing, and for most listeners a slot holds everything that routing a
// message needs, so a look-up waits for one memory access, mostly to one
// cache line, however many users listen. A slot takes 24 octets; a fifth to a
// half of the slots are free. The index is divided into shards that grow
// independently, so that no change waits until a million listeners have been
// rehashed.
type hashIndex struct {
	hash    func(address string) uint64
	shards  [indexShards]shard
	origins originTable
}

const indexShards = 1 << 10

// shard is one part of a hashIndex.
type shard struct {
	slots    []slot
	occupied int
}

// slot holds one listener. A listener whose ideal slot is taken goes to the
// next free one, and no slot between the two is free.
type slot struct {
	hash     uint64 // of the address, never 0; 0 means that the slot is free
	listener packed
	single   singleSession
}

func newHashIndex() *hashIndex {
	seed := maphash.MakeSeed()
	return &hashIndex{hash: func(address string) uint64 { return maphash.String(seed, address) }}
}

// shardOf returns the shard of an address, and its hash.
func (x *hashIndex) shardOf(address string) (*shard, uint64) {
	h := max(x.hash(address), 1)
	return &x.shards[h%indexShards], h
}

// idealSlot returns the slot of a listener with that hash in an otherwise
// empty shard.
func (p *shard) idealSlot(hash uint64) int {
	n, _ := bits.Mul64(hash, uint64(len(p.slots))) // as hash is to 2^64
	return int(n)
}

func (p *shard) nextSlot(i int) int {
	if i++; i < len(p.slots) {
		return i
	}
	return 0
}

// get returns a listener, empty if there is none.
func (x *hashIndex) get(address string) packed {
	p, h := x.shardOf(address)
	if i := p.findSlot(h, address); i >= 0 {
		return p.slots[i].listener
	}
	return packed{}
}

// singleSession returns a listener's session, if there is only one, and the
// epoch in which it was bound last. The look-up compares only the 64-bit
// hash: an unknown address is mistaken for a given listener with a
// probability of 2^-64.
func (x *hashIndex) singleSession(address string) (s Session, epoch uint64, ok bool) {
	p, h := x.shardOf(address)
	for i := p.idealSlot(h); p.occupied > 0 && p.slots[i].hash != 0; i = p.nextSlot(i) {
		if at := &p.slots[i]; at.hash == h && at.single != multipleSessions {
			o := &x.origins.entries[at.single.origin()]
			return Session{o.node, o.began, at.single.number()}, o.bound, true
		}
	}
	return Session{}, 0, false
}

// findSlot returns the slot of an address, or -1.
func (p *shard) findSlot(hash uint64, address string) int {
	for i := p.idealSlot(hash); p.occupied > 0 && p.slots[i].hash != 0; i = p.nextSlot(i) {
		if at := &p.slots[i]; at.hash == hash && at.listener.address() == address {
			return i
		}
	}
	return -1
}

// insert stores a listener, replacing the one with the same address.
func (x *hashIndex) insert(l packed) {
	p, h := x.shardOf(l.address())
	now := slot{hash: h, listener: l, single: x.origins.singleSession(l)}
	if i := p.probe(&now); i >= 0 {
		p.slots[i] = now
		return
	}
	if 5*(p.occupied+1) > 4*len(p.slots) {
		p.grow()
	}
	p.add(now)
}

// probe returns the slot of now's address, or -1. It marks listeners with the
// same hash, which have to be distinguished by their addresses from now on.
func (p *shard) probe(now *slot) (before int) {
	before = -1
	for i := p.idealSlot(now.hash); p.occupied > 0 && p.slots[i].hash != 0; i = p.nextSlot(i) {
		switch at := &p.slots[i]; {
		case at.hash != now.hash:
		case at.listener.address() == now.listener.address():
			before = i
		default:
			at.single, now.single = multipleSessions, multipleSessions
		}
	}
	return before
}

// add stores a listener that is not there yet. There is room.
func (p *shard) add(l slot) {
	p.occupied++
	i := p.idealSlot(l.hash)
	for p.slots[i].hash != 0 {
		i = p.nextSlot(i)
	}
	p.slots[i] = l
}

// grow makes the shard half as large again.
func (p *shard) grow() {
	old := p.slots
	*p = shard{slots: make([]slot, max(2, len(old)*3/2))}
	for i := range old {
		if old[i].hash != 0 {
			p.add(old[i])
		}
	}
}

// delete removes the listener with l's address.
func (x *hashIndex) delete(l packed) {
	p, h := x.shardOf(l.address())
	i := p.findSlot(h, l.address())
	if i < 0 {
		return
	}
	p.occupied--
	for j := p.nextSlot(i); p.slots[j].hash != 0; j = p.nextSlot(j) {
		// Move a later entry into the gap, but not before its ideal slot.
		if from := p.idealSlot(p.slots[j].hash); p.distanceTo(from, j) >= p.distanceTo(i, j) {
			p.slots[i] = p.slots[j]
			i = j
		}
	}
	p.slots[i] = slot{}
}

// distanceTo returns the number of slots from from to to.
func (p *shard) distanceTo(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(p.slots)
}
