package server

import (
	"slices"
	"sync"
	"sync/atomic"

	"simpd/protocol"
)

// frame is one thing that waits to be written: whole lines with their
// literals, or what they will be made of when their time comes.
type frame struct {
	octets   []byte    // ready lines; or
	delivery *delivery // a message, which may be dropped before it is begun; or
	shown    *shown    // a change of presence, in whose place a newer one may come
	last     bool      // nothing is written after it
}

// shown is a notice and its line. All who are told share it; an outbox in which
// a newer one may come in its place has its own.
type shown struct {
	*protocol.Notice
	line []byte
	own  bool // it is one outbox's
}

// notices keeps the line of the notice that was shown last, as it is shown to
// many in a row.
type notices struct{ last atomic.Pointer[shown] }

func (c *notices) show(n *protocol.Notice) *shown {
	last := c.last.Load()
	if last == nil || last.Notice != n {
		last = &shown{n, appendNotice(make([]byte, 0, 160), n), false}
		c.last.Store(last)
	}
	return last
}

const (
	frameCost = 96  // of a frame and its place in a queue, of which half may be free
	shownCost = 192 // of what one outbox keeps to find a notice by its address
)

// size is what f takes, in octets. Messages count for themselves.
func (f *frame) size() int {
	switch {
	case f.delivery != nil:
		return 0
	case f.shown == nil:
		return frameCost + cap(f.octets)
	case f.shown.own:
		return frameCost + cap(f.shown.line) + shownCost
	}
	return frameCost + cap(f.shown.line)
}

// appendTo encodes f.
func (f *frame) appendTo(b []byte) []byte {
	switch {
	case f.delivery != nil:
		return f.delivery.appendTo(b)
	case f.shown != nil:
		return append(b, f.shown.line...)
	}
	return append(b, f.octets...)
}

// queue is room for frames that wait. An outbox has one only while some do.
type queue [64]frame

var queues = sync.Pool{New: func() any { return new(queue) }}

// freeQueue gives the room of frames back, which are cleared.
func freeQueue(frames []frame) {
	if cap(frames) == len(queue{}) {
		queues.Put((*queue)(frames[:len(queue{})]))
	}
}

// batch is what one write is given: frames, and where each ends.
type batch struct {
	octets []byte
	ends   []int
}

var batches = sync.Pool{New: func() any { return &batch{octets: make([]byte, 0, bufferSize)} }}

func newBatch() *batch { return batches.Get().(*batch) }

func (b *batch) free() {
	if cap(b.octets) <= 8*bufferSize && cap(b.ends) <= 1024 {
		batches.Put(b)
	}
}

func (b *batch) reset() { b.octets, b.ends = b.octets[:0], b.ends[:0] }

// start returns where frame i begins.
func (b *batch) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// whole returns how many frames n octets hold the whole of.
func (b *batch) whole(n int) int {
	if n == len(b.octets) {
		return len(b.ends)
	}
	i, _ := slices.BinarySearch(b.ends, n+1)
	return i
}
