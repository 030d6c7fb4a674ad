package server

import (
	"cmp"
	"slices"
)

// pending are the deliveries of an inbox in the order of their numbers. New
// ones come in behind, and it is mostly the first that leaves.
type pending struct {
	room  []*delivery
	first int // in room; what is before it has left
}

func (p *pending) all() []*delivery { return p.room[p.first:] }

func (p *pending) len() int { return len(p.room) - p.first }

func (p *pending) add(d *delivery) {
	if len(p.room) == cap(p.room) && p.first > p.len() {
		n := copy(p.room, p.all())
		clear(p.room[n:])
		p.room, p.first = p.room[:n], 0
	}
	p.room = append(p.room, d)
}

// find returns the place of the delivery with that number.
func (p *pending) find(number uint64) (i int, ok bool) {
	all := p.all()
	if len(all) > 0 && all[0].number == number {
		return 0, true
	}
	return slices.BinarySearchFunc(all, number, func(d *delivery, n uint64) int { return cmp.Compare(d.number, n) })
}

// remove takes out the delivery at a place.
func (p *pending) remove(i int) {
	if i > 0 {
		p.room = slices.Delete(p.room, p.first+i, p.first+i+1)
		return
	}
	p.room[p.first] = nil
	if p.first++; p.len() == 0 {
		p.empty()
	}
}

// removeAll takes out those for which gone returns true, asked in order.
func (p *pending) removeAll(gone func(*delivery) bool) {
	rest := slices.DeleteFunc(p.all(), gone)
	if p.room = p.room[:p.first+len(rest)]; len(rest) == 0 {
		p.empty()
	}
}

// maxEmptyRoom is for how many deliveries room is kept while there are none.
const maxEmptyRoom = 64

func (p *pending) empty() {
	p.room, p.first = p.room[:0], 0
	if cap(p.room) > maxEmptyRoom {
		p.room = nil
	}
}
