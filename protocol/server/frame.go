package server

import (
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
}

// notices keeps the line of the notice that was shown last, as it is shown to
// many in a row.
type notices struct{ last atomic.Pointer[shown] }

func (c *notices) show(n *protocol.Notice) *shown {
	last := c.last.Load()
	if last == nil || last.Notice != n {
		last = &shown{n, appendNotice(make([]byte, 0, 160), n)}
		c.last.Store(last)
	}
	return last
}

// size is what f counts for in the outbox's budget. Messages have their own.
func (f *frame) size() int {
	if f.shown != nil {
		return len(f.shown.line)
	}
	return len(f.octets)
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
	frames []frame
	ends   []int
}

var batches = sync.Pool{New: func() any { return &batch{octets: make([]byte, 0, bufferSize)} }}

func newBatch() *batch { return batches.Get().(*batch) }

func (b *batch) free() {
	b.reset()
	if cap(b.octets) <= 8*bufferSize && cap(b.frames) <= 1024 {
		batches.Put(b)
	}
}

func (b *batch) reset() {
	clear(b.frames)
	b.octets, b.frames, b.ends = b.octets[:0], b.frames[:0], b.ends[:0]
}

func (b *batch) add(f frame) {
	b.frames = append(b.frames, f)
	b.octets = f.appendTo(b.octets)
	b.ends = append(b.ends, len(b.octets))
}

// rest returns the frames of which n octets of the batch written do not hold
// the whole; the first of them may be the tail of one that is begun.
func (b *batch) rest(n int) []frame {
	for i, end := range b.ends {
		if n >= end {
			continue
		}
		rest := b.frames[i:]
		start := end - frameLen(b.ends, i)
		if n > start {
			rest[0] = frame{octets: append([]byte(nil), b.octets[n:end]...), last: rest[0].last}
		}
		return rest
	}
	return nil
}

func frameLen(ends []int, i int) int {
	if i == 0 {
		return ends[0]
	}
	return ends[i] - ends[i-1]
}
