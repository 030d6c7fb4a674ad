package store

import (
	"hash/maphash"
	"math/bits"
)

// index finds listeners by their addresses: a hash table with open addressing,
// whose places say of most listeners all that a message asks. So a look-up
// waits for one piece of memory, mostly one line of it, however many listen. A
// place takes 24 octets, and a fifth to a half of them are free. The index is
// divided into parts that grow each by itself, so that no change waits until a
// million have found their new places.
type index struct {
	hash    func(address string) uint64
	parts   [indexParts]part
	origins origins
}

const indexParts = 1 << 10

// part is one part of an index.
type part struct {
	places []place
	used   int
}

// place is of one listener. One that finds its place taken has the next that
// is free, and none is free between the two.
type place struct {
	hash uint64 // of the address, never 0; 0: the place is free
	at   packed
	sole sole
}

func newIndex() *index {
	seed := maphash.MakeSeed()
	return &index{hash: func(address string) uint64 { return maphash.String(seed, address) }}
}

// of returns the part that an address belongs to, and its hash.
func (x *index) of(address string) (*part, uint64) {
	h := max(x.hash(address), 1)
	return &x.parts[h%indexParts], h
}

// home is where a listener of that hash would be if it were alone.
func (p *part) home(hash uint64) int {
	n, _ := bits.Mul64(hash, uint64(len(p.places))) // as hash is to 2^64
	return int(n)
}

func (p *part) next(i int) int {
	if i++; i < len(p.places) {
		return i
	}
	return 0
}

// get returns a listener; deaf if there is none.
func (x *index) get(address string) packed {
	p, h := x.of(address)
	if i := p.find(h, address); i >= 0 {
		return p.places[i].at
	}
	return packed{}
}

// sole returns a listener's session if there is but one, and the epoch in which
// it was bound last. The lookup compares only the 64-bit hash: an unknown address
// is mistaken for a given listener's with a probability of 2^-64.
func (x *index) sole(address string) (s Session, epoch uint64, ok bool) {
	p, h := x.of(address)
	for i := p.home(h); p.used > 0 && p.places[i].hash != 0; i = p.next(i) {
		if at := &p.places[i]; at.hash == h && at.sole != several {
			o := &x.origins.all[at.sole.origin()]
			return Session{o.node, o.began, at.sole.number()}, o.bound, true
		}
	}
	return Session{}, 0, false
}

// find returns where an address stands, or -1.
func (p *part) find(hash uint64, address string) int {
	for i := p.home(hash); p.used > 0 && p.places[i].hash != 0; i = p.next(i) {
		if at := &p.places[i]; at.hash == hash && at.at.address() == address {
			return i
		}
	}
	return -1
}

// set keeps a listener, in place of the one of the same address.
func (x *index) set(l packed) {
	p, h := x.of(l.address())
	now := place{hash: h, at: l, sole: x.origins.sole(l)}
	if i := p.meet(&now); i >= 0 {
		p.places[i] = now
		return
	}
	if 5*(p.used+1) > 4*len(p.places) {
		p.grow()
	}
	p.insert(now)
}

// meet returns where now's address stands, or -1. From now on namesakes, who
// have the same hash, have to be told apart by their addresses.
func (p *part) meet(now *place) (before int) {
	before = -1
	for i := p.home(now.hash); p.used > 0 && p.places[i].hash != 0; i = p.next(i) {
		switch at := &p.places[i]; {
		case at.hash != now.hash:
		case at.at.address() == now.at.address():
			before = i
		default:
			at.sole, now.sole = several, several
		}
	}
	return before
}

// insert keeps a listener that is not there. There is room.
func (p *part) insert(l place) {
	p.used++
	i := p.home(l.hash)
	for p.places[i].hash != 0 {
		i = p.next(i)
	}
	p.places[i] = l
}

// grow gives a part half as many places more.
func (p *part) grow() {
	old := p.places
	*p = part{places: make([]place, max(2, len(old)*3/2))}
	for i := range old {
		if old[i].hash != 0 {
			p.insert(old[i])
		}
	}
}

// delete forgets the listener of l's address.
func (x *index) delete(l packed) {
	p, h := x.of(l.address())
	i := p.find(h, l.address())
	if i < 0 {
		return
	}
	p.used--
	for j := p.next(i); p.places[j].hash != 0; j = p.next(j) {
		// Who stands behind the gap moves into it, but not before their home.
		if from := p.home(p.places[j].hash); p.distance(from, j) >= p.distance(i, j) {
			p.places[i] = p.places[j]
			i = j
		}
	}
	p.places[i] = place{}
}

// distance is how many places to comes after from.
func (p *part) distance(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(p.places)
}
