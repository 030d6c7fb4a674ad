package server

import (
	"cmp"
	"slices"
)

// deliveryQueue holds the deliveries of an inbox in the order of their
// numbers. New ones are appended, and mostly the first is removed.
type deliveryQueue struct {
	buf  []*delivery
	head int // index of the first; those before it were removed
}

func (p *deliveryQueue) all() []*delivery { return p.buf[p.head:] }

func (p *deliveryQueue) len() int { return len(p.buf) - p.head }

func (p *deliveryQueue) add(d *delivery) {
	if len(p.buf) == cap(p.buf) && p.head > p.len() {
		n := copy(p.buf, p.all())
		clear(p.buf[n:])
		p.buf, p.head = p.buf[:n], 0
	}
	p.buf = append(p.buf, d)
}

// find returns the position of the delivery with that number.
func (p *deliveryQueue) find(number uint64) (i int, ok bool) {
	all := p.all()
	if len(all) > 0 && all[0].number == number {
		return 0, true
	}
	return slices.BinarySearchFunc(all, number, func(d *delivery, n uint64) int { return cmp.Compare(d.number, n) })
}

// remove removes the delivery at position i.
func (p *deliveryQueue) remove(i int) {
	if i > 0 {
		p.buf = slices.Delete(p.buf, p.head+i, p.head+i+1)
		return
	}
	p.buf[p.head] = nil
	if p.head++; p.len() == 0 {
		p.reset()
	}
}

// removeAll removes the deliveries for which gone returns true, called in
// order.
func (p *deliveryQueue) removeAll(gone func(*delivery) bool) {
	rest := slices.DeleteFunc(p.all(), gone)
	if p.buf = p.buf[:p.head+len(rest)]; len(rest) == 0 {
		p.reset()
	}
}

// maxEmptyRoom is the capacity kept while the queue is empty.
const maxEmptyRoom = 64

func (p *deliveryQueue) reset() {
	p.buf, p.head = p.buf[:0], 0
	if cap(p.buf) > maxEmptyRoom {
		p.buf = nil
	}
}
