package store

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// index finds listeners by their addresses: a hash table that looks at one
// line of the processor's cache for most look-ups, and then at the listener.
// It takes some 14 octets for each of them. It is divided into parts that grow
// each by itself, so that no change waits until a million have found their new
// places.
type index struct {
	seed  maphash.Seed
	parts [indexParts]part
}

const indexParts = 1 << 10

// part is one part of an index; the number of its buckets is a power of two.
type part struct {
	buckets []bucket
	used    int
}

// bucket is what one line of the cache holds: places for seven listeners, with
// seven bits of the hash of each, and how many there are who would belong here
// and found it full. They are in one of the next buckets.
type bucket struct {
	tags [bucketSize + 1]uint8 // 0: the place is free; the last counts who passed
	at   [bucketSize]packed
}

const (
	bucketSize = 7
	uncounted  = 0xFF // so many passed that they are counted no more
)

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

// place is where an address belongs: a part, a bucket of it, and a tag.
func (x *index) place(address string) (p *part, home uint64, tag uint8) {
	h := maphash.String(x.seed, address)
	return &x.parts[h%indexParts], h / indexParts, uint8(h>>56) | 0x80
}

// get returns a listener; deaf if there is none.
func (x *index) get(address string) packed {
	p, home, tag := x.place(address)
	if at := p.find(home, tag, address); at != nil {
		return *at
	}
	return packed{}
}

// bucket returns the one of that number, as far as there are so many.
func (p *part) bucket(n uint64) *bucket { return &p.buckets[n&uint64(len(p.buckets)-1)] }

// find returns where an address stands, or nil.
func (p *part) find(home uint64, tag uint8, address string) *packed {
	for range p.buckets {
		b := p.bucket(home)
		for m := b.match(tag); m != 0; m &= m - 1 {
			at := &b.at[bits.TrailingZeros64(m)/8]
			if at.address() == address {
				return at
			}
		}
		if b.tags[bucketSize] == 0 {
			return nil
		}
		home++
	}
	return nil
}

// match returns the places with that tag: the highest bit of the octet of each
// is set. It may err on places above one that is right.
func (b *bucket) match(tag uint8) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	const places = highs >> 8 // without the octet that counts
	x := binary.LittleEndian.Uint64(b.tags[:]) ^ ones*uint64(tag)
	return (x - ones) &^ x & places
}

// set keeps a listener, in place of the one of the same address.
func (x *index) set(l packed) {
	p, home, tag := x.place(l.address())
	if at := p.find(home, tag, l.address()); at != nil {
		*at = l
		return
	}
	if 8*p.used >= 6*bucketSize*len(p.buckets) {
		x.grow(p)
	}
	p.insert(home, tag, l)
}

// insert keeps a listener that is not there. There is room.
func (p *part) insert(home uint64, tag uint8, l packed) {
	p.used++
	for {
		b := p.bucket(home)
		for i := range b.at {
			if b.tags[i] == 0 {
				b.tags[i], b.at[i] = tag, l
				return
			}
		}
		if passed := &b.tags[bucketSize]; *passed < uncounted {
			*passed++
		}
		home++
	}
}

// grow doubles a part.
func (x *index) grow(p *part) {
	old := p.buckets
	*p = part{buckets: make([]bucket, max(1, 2*len(old)))}
	for i := range old {
		for j, l := range old[i].at {
			if old[i].tags[j] != 0 {
				_, home, tag := x.place(l.address())
				p.insert(home, tag, l)
			}
		}
	}
}

// delete forgets the listener of l's address, who is there.
func (x *index) delete(l packed) {
	p, home, tag := x.place(l.address())
	at := p.find(home, tag, l.address())
	if at == nil {
		return
	}
	p.used--
	for {
		b := p.bucket(home)
		for i := range b.at {
			if &b.at[i] == at {
				b.tags[i], b.at[i] = 0, packed{}
				return
			}
		}
		if passed := &b.tags[bucketSize]; *passed < uncounted {
			*passed--
		}
		home++
	}
}
