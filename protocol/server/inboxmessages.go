package server

import (
	"cmp"
	"slices"
)

// inboxMessages holds the messages of an inbox in the order of their
// numbers. New ones are appended, and mostly the first is removed.
type inboxMessages struct {
	buf  []*inboxMessage
	head int // index of the first; those before it were removed
}

func (p *inboxMessages) all() []*inboxMessage { return p.buf[p.head:] }

func (p *inboxMessages) len() int { return len(p.buf) - p.head }

func (p *inboxMessages) add(d *inboxMessage) {
	if len(p.buf) == cap(p.buf) && p.head > p.len() {
		n := copy(p.buf, p.all())
		clear(p.buf[n:])
		p.buf, p.head = p.buf[:n], 0
	}
	p.buf = append(p.buf, d)
}

// find returns the position of the message with that number.
func (p *inboxMessages) find(number uint64) (i int, ok bool) {
	all := p.all()
	if len(all) > 0 && all[0].number == number {
		return 0, true
	}
	return slices.BinarySearchFunc(all, number, func(d *inboxMessage, n uint64) int { return cmp.Compare(d.number, n) })
}

// remove removes the message at position i.
func (p *inboxMessages) remove(i int) {
	if i > 0 {
		p.buf = slices.Delete(p.buf, p.head+i, p.head+i+1)
		return
	}
	p.buf[p.head] = nil
	if p.head++; p.len() == 0 {
		p.reset()
	}
}

// removeAll removes the messages for which gone returns true, called in
// order.
func (p *inboxMessages) removeAll(gone func(*inboxMessage) bool) {
	rest := slices.DeleteFunc(p.all(), gone)
	if p.buf = p.buf[:p.head+len(rest)]; len(rest) == 0 {
		p.reset()
	}
}

// maxEmptyRoom is the capacity kept while the queue is empty.
const maxEmptyRoom = 64

func (p *inboxMessages) reset() {
	p.buf, p.head = p.buf[:0], 0
	if cap(p.buf) > maxEmptyRoom {
		p.buf = nil
	}
}
