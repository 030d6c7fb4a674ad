package server

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
)

// outbox holds the output for one client. Whoever adds output writes it, if
// nobody else is writing and as far as the client accepts it without
// blocking. A goroutine that exists only while output is queued writes the
// rest. So adding output never blocks.
//
// Queued output can change: a message is dropped at its deadline, and if much
// is queued, a change of presence is replaced by a newer one of the same
// address.
type outbox struct {
	// What writing a notification needs stands first, and first in a session:
	// of a thousand that are told one after the other little is in a cache.
	mu        sync.Mutex
	writing   bool          // somebody is writing
	closing   bool          // nothing more is accepted
	hasWriter bool          // a goroutine is writing
	corked    bool          // in the coalescer's list; guarded by the coalescer
	transport transport     // replaced by thaw
	queue     []frame       // what waits
	idle      chan struct{} // closed when nobody writes; nil if nobody waits for that

	inWrite      int                                    // frames at the head of the queue that are being written
	size         int                                    // of the queue without messages
	merge        map[protocol.Address][]*renderedNotice // queued notices that newer ones may replace
	blockedSince time.Time                              // since when the client has accepted nothing
	lastSent     uint64                                 // transport.sentOctets() at that time
	coalescer    *writeCoalescer
	owner        outboxOwner
}

// outboxOwner is notified of the state of an outbox.
type outboxOwner interface {
	onBehind()                     // the client does not take all at once
	addMemory(octets int)          // the queue grew by octets, or shrank
	allowsQueued(waiting int) bool // so many octets may wait
	abort()                        // nothing can be written any more
}

// maxRounds limits the consecutive writes by somebody who has other work.
const maxRounds = 4

// maxWaiting limits the queued octets without messages: the responses to as
// many requests as allowed, and their refusals.
const maxWaiting = protocol.MaxRequestOctets + 1<<20

// mergeFrom is the queue size without messages from which changes of presence
// are merged. A client that reads as fast as it can may have less queued when
// many changes come at once.
const mergeFrom = 256 << 10

// enqueue queues f for the next flush. A client that keeps asking without
// reading is cut off.
func (o *outbox) enqueue(f frame) {
	if !o.tryEnqueue(f) {
		o.owner.abort()
	}
}

func (o *outbox) tryEnqueue(f frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing:
		return true
	case f.notice != nil && o.size >= mergeFrom:
		o.mergeNoticeLocked(f.notice)
	default:
		o.closing = f.last
		o.appendLocked(f)
	}
	return o.owner.allowsQueued(o.size)
}

func (o *outbox) addSize(octets int) {
	o.size += octets
	o.owner.addMemory(octets)
}

// enqueueState queues lines that describe presence at one moment: no later
// notice may come before them.
func (o *outbox) enqueueState(octets []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return
	}
	o.merge = nil
	o.appendLocked(frame{octets: octets})
}

// flush writes the queue, now or with the coalesced output.
func (o *outbox) flush() {
	if o.coalescer.add(o) {
		return
	}
	o.flushNow()
}

func (o *outbox) flushNow() {
	if !o.beginWriting() {
		return
	}
	if o.transport.isBlocking() || !o.writeQueued(maxRounds) {
		o.startWriter()
	}
}

// startWriter hands the writing over to a goroutine.
func (o *outbox) startWriter() {
	o.owner.onBehind()
	o.mu.Lock()
	o.hasWriter = true
	o.owner.addMemory(writerCost)
	o.mu.Unlock()
	go o.writeLoop() // close waits for it
}

// writerCost is the memory of a goroutine that writes to a client which does
// not accept everything at once: its stack, its batch, and encrypted data.
const writerCost = 24 << 10

// beginWriting makes the caller the writer, if there is something to write
// and nobody else is writing.
func (o *outbox) beginWriting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || len(o.queue) == 0 {
		return false
	}
	o.writing = true
	return true
}

// writeLoop writes until the queue is empty.
func (o *outbox) writeLoop() {
	for {
		if err := o.transport.waitWritable(); err != nil {
			o.fail()
			return
		}
		if o.writeQueued(-1) {
			return
		}
	}
}

// writeQueued writes the queue with at most that many writes. If it returns
// false, something is left and the caller must continue; otherwise the caller
// is no longer the writer.
func (o *outbox) writeQueued(rounds int) bool {
	b := newBatch()
	defer b.free()
	for ; rounds != 0; rounds-- {
		o.fillBatch(b)
		n, clear, err := o.transport.write(b.octets)
		if err != nil {
			o.fail()
			return true
		}
		if o.completeWrite(b, n, clear) {
			return true
		}
		if !clear {
			return false
		}
	}
	return false
}

// fillBatch encodes frames at the head of the queue, where they stay until
// they are written.
func (o *outbox) fillBatch(b *batch) {
	b.reset()
	now, limit := time.Now(), o.transport.batchSize()
	o.mu.Lock()
	defer o.mu.Unlock()
	if sent := o.transport.sentOctets(); sent != o.lastSent || o.blockedSince.IsZero() {
		o.blockedSince, o.lastSent = now, sent
	}
	for o.inWrite < len(o.queue) && len(b.octets) < limit {
		f := &o.queue[o.inWrite]
		o.inWrite++
		o.addSize(-f.size())
		if f.notice != nil && o.merge != nil {
			o.unmergeLocked(f.notice)
		}
		if f.delivery == nil || f.delivery.beginWrite(now) {
			b.octets = f.appendTo(b.octets)
		}
		b.ends = append(b.ends, len(b.octets))
	}
}

// completeWrite removes from the queue what was written of b, n octets, and
// reports whether nothing is left. The caller is then no longer the writer.
func (o *outbox) completeWrite(b *batch, n int, clear bool) (finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := b.completeFrames(n)
	for i := whole; i < o.inWrite; i++ {
		f := &o.queue[i]
		if start := b.start(i); n > start { // its tail is all that waits
			*f = frame{octets: slices.Clone(b.octets[n:b.ends[i]]), last: f.last}
		}
		if f.delivery != nil {
			f.delivery.requeue()
		}
		o.addSize(f.size())
	}
	o.queue, o.inWrite = slices.Delete(o.queue, 0, whole), 0
	return o.finishWriteLocked(clear)
}

// finishWriteLocked is called after a write, and reports whether nothing is
// left. The caller is then no longer the writer.
func (o *outbox) finishWriteLocked(clear bool) bool {
	if !clear || len(o.queue) > 0 {
		return false
	}
	if o.closing {
		_ = o.transport.closeWrite() // fails only where the connection is gone
	}
	o.resetLocked()
	return true
}

// resetLocked empties the queue and ends the writing.
func (o *outbox) resetLocked() {
	freeFrameBuffer(o.queue)
	o.queue, o.inWrite = nil, 0
	o.merge, o.blockedSince = nil, time.Time{}
	o.addSize(-o.size)
	if o.hasWriter {
		o.hasWriter = false
		o.owner.addMemory(-writerCost)
	}
	o.writing = false
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// fail handles a broken connection. The queue is dropped; the inbox completes
// the messages in it.
func (o *outbox) fail() {
	o.mu.Lock()
	o.closing = true
	clear(o.queue)
	o.resetLocked()
	o.mu.Unlock()
	o.owner.abort()
}

// removeDropped removes queued messages that were dropped.
func (o *outbox) removeDropped() {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := slices.DeleteFunc(o.queue[o.inWrite:], func(f frame) bool {
		return f.delivery != nil && f.delivery.isDropped()
	})
	o.queue = o.queue[:o.inWrite+len(rest)]
}

// awaitDrained writes the queue, even if its writing was delayed by the
// coalescer, and returns when the queue is empty or can't be written.
func (o *outbox) awaitDrained() {
	o.flushNow()
	o.awaitWriter()
}

// awaitWriter returns when nobody writes.
func (o *outbox) awaitWriter() {
	o.mu.Lock()
	if !o.writing {
		o.mu.Unlock()
		return
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	<-idle
}

// close ends the outbox after its transport was closed, and waits for the
// writer.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
	if !o.writing {
		clear(o.queue)
		o.resetLocked()
	}
	o.mu.Unlock()
	o.awaitWriter()
}

// checkBlocked returns since when the client has accepted nothing of the
// queue; zero if nothing is queued.
func (o *outbox) checkBlocked() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		return time.Time{}
	}
	if sent := o.transport.sentOctets(); sent != o.lastSent {
		o.blockedSince, o.lastSent = time.Now(), sent
	}
	return o.blockedSince
}

func (o *outbox) queuedOctets() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size
}

// freeze waits until the queue is empty, and prevents writing until thaw. It
// returns false if nothing can be written any more.
func (o *outbox) freeze() bool {
	o.awaitDrained()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = true
	return !o.closing
}

// thaw continues with another transport.
func (o *outbox) thaw(w transport) {
	o.mu.Lock()
	o.transport = w
	o.writing = false
	o.mu.Unlock()
	o.flush()
}
