package netio

import (
	"slices"
	"sync"
	"time"
)

// Item is output that is encoded only when it is written. Its methods are
// called while the queue is locked: they must not call the Conn.
type Item interface {
	// Size returns the octets to count while it is queued.
	Size() int
	// Begin is called when it is about to be written. It returns false if it
	// must not be written any more.
	Begin(now time.Time) bool
	// AppendTo appends the encoded form to b.
	AppendTo(b []byte) []byte
	// Requeue is called when nothing of it was written after all.
	Requeue()
	// IsDropped reports whether it will never be written.
	IsDropped() bool
}

// Update is an Item, a single line, that a newer Update may replace while it is
// queued.
type Update interface {
	Item
	// Line returns the encoded form.
	Line() []byte
	// Subject returns what it is about, as a key of a map. Updates of one
	// subject are written in their order.
	Subject() any
	// Replaces reports whether it may be written in the place of old, which has
	// the same subject.
	Replaces(old Update) bool
	// IsSameChange reports whether it and other, which has the same subject, are
	// parts of one change.
	IsSameChange(other Update) bool
}

// frame is one unit of output: complete lines with their literals, or what
// they are generated from when they are written.
type frame struct {
	octets []byte // complete lines; or
	item   Item
	last   bool // nothing is written after it
}

// ownUpdate is an Update in one outbox, which may put a newer one in its
// place.
type ownUpdate struct{ Update }

// Size counts what the outbox keeps to find it.
func (u *ownUpdate) Size() int { return u.Update.Size() + mergeCost }

const (
	// FrameCost is the memory of a frame and its place in a queue, half of which
	// may be free.
	FrameCost = 96
	mergeCost = 192 // of what one outbox keeps to find an update by its subject
)

// size returns the memory of f in octets.
func (f *frame) size() int {
	if f.item != nil {
		return f.item.Size()
	}
	return FrameCost + cap(f.octets)
}

// appendTo appends the encoded frame to b.
func (f *frame) appendTo(b []byte) []byte {
	if f.item != nil {
		return f.item.AppendTo(b)
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

var batches = sync.Pool{New: func() any { return &batch{octets: make([]byte, 0, BufferSize)} }}

func newBatch() *batch { return batches.Get().(*batch) }

func (b *batch) free() {
	if cap(b.octets) <= 8*BufferSize && cap(b.ends) <= 1024 {
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
