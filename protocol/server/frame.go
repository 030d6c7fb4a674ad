package server

import (
	"slices"
	"sync"
	"sync/atomic"

	"simpd/protocol"
)

// frame is one unit of output: complete lines with their literals, or what
// they are generated from when they are written.
type frame struct {
	octets   []byte          // complete lines; or
	delivery *delivery       // a message, which may be dropped before its writing begins; or
	notice   *renderedNotice // a change of presence, which may be replaced by a newer one
	last     bool            // nothing is written after it
}

// renderedNotice is a notice with its encoded line. All recipients share it;
// an outbox that may replace it by a newer one has its own copy.
type renderedNotice struct {
	*protocol.Notice
	line []byte
	own  bool // it belongs to one outbox
}

// noticeCache caches the encoded form of the last notice, because many
// recipients in a row receive the same one.
type noticeCache struct {
	last atomic.Pointer[renderedNotice]
}

func (c *noticeCache) render(n *protocol.Notice) *renderedNotice {
	last := c.last.Load()
	if last == nil || last.Notice != n {
		last = &renderedNotice{n, appendNotice(make([]byte, 0, 160), n), false}
		c.last.Store(last)
	}
	return last
}

const (
	frameCost = 96  // of a frame and its place in a queue, half of which may be free
	shownCost = 192 // of what one outbox keeps to find a notice by its address
)

// size returns the memory of f in octets. Messages are counted elsewhere.
func (f *frame) size() int {
	switch {
	case f.delivery != nil:
		return 0
	case f.notice == nil:
		return frameCost + cap(f.octets)
	case f.notice.own:
		return frameCost + cap(f.notice.line) + shownCost
	}
	return frameCost + cap(f.notice.line)
}

// appendTo appends the encoded frame to b.
func (f *frame) appendTo(b []byte) []byte {
	switch {
	case f.delivery != nil:
		return f.delivery.appendTo(b)
	case f.notice != nil:
		return append(b, f.notice.line...)
	}
	return append(b, f.octets...)
}

// frameBuffer is memory for queued frames. An outbox has one only while
// frames are queued.
type frameBuffer [64]frame

var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

// freeFrameBuffer returns the memory of frames, which have been cleared.
func freeFrameBuffer(frames []frame) {
	if cap(frames) == len(frameBuffer{}) {
		frameBuffers.Put((*frameBuffer)(frames[:len(frameBuffer{})]))
	}
}

// batch is the data of one write: encoded frames, and where each ends.
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

// start returns the offset of frame i.
func (b *batch) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// completeFrames returns how many frames are complete within the first n
// octets.
func (b *batch) completeFrames(n int) int {
	if n == len(b.octets) {
		return len(b.ends)
	}
	i, _ := slices.BinarySearch(b.ends, n+1)
	return i
}
