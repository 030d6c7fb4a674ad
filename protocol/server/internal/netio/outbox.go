package netio

import (
	"slices"
	"sync"
	"time"
)

// outbox holds the output for one client. Whoever adds output writes it, if
// nobody else is writing and as far as the client accepts it without
// blocking. A goroutine that exists only while output is queued writes the
// rest. So adding output never blocks.
//
// Queued output can change: an item is dropped at its deadline, and if much
// is queued, an update is replaced by a newer one of the same subject.
type outbox struct {
	// What writing a notification needs stands first, and first in a session:
	// of a thousand that are told one after the other little is in a cache.
	mu        sync.Mutex
	writing   bool          // somebody is writing
	closing   bool          // nothing more is accepted
	hasWriter bool          // a goroutine is writing
	corked    bool          // in the coalescer's list; guarded by the coalescer
	transport Transport     // replaced by StartTLS
	queue     []frame       // what waits
	idle      chan struct{} // closed when nobody writes; nil if nobody waits for that

	inWrite      int                  // frames at the head of the queue that are being written
	size         int                  // of the queue
	merge        map[any][]*ownUpdate // queued updates that newer ones may replace, by subject
	blockedSince time.Time            // since when the client has accepted nothing
	lastSent     uint64               // transport.SentOctets() at that time
	coalescer    *coalescer
	handler      Handler
}

// maxRounds limits the consecutive writes by somebody who has other work.
const maxRounds = 4

// MergeFrom is the queue size from which updates are merged. A client that reads as fast as it can may have less queued when
// many changes come at once.
const MergeFrom = 256 << 10

// enqueue queues f for the next flush. If too much is queued, the handler has
// to end the connection.
func (o *outbox) enqueue(f frame) {
	if !o.tryEnqueue(f) {
		o.handler.Abort()
	}
}

func (o *outbox) tryEnqueue(f frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return true
	}
	o.closing = f.last
	o.appendLocked(f)
	return o.handler.AllowsQueued(o.size)
}

func (o *outbox) tryEnqueueUpdate(u Update) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing:
		return true
	case o.size >= MergeFrom:
		o.mergeUpdateLocked(u)
	default:
		o.appendLocked(frame{item: u})
	}
	return o.handler.AllowsQueued(o.size)
}

// SendItem sends an item.
func (o *outbox) SendItem(i Item) {
	o.enqueue(frame{item: i})
	o.flush()
}

// SendLast sends the last octets: nothing is sent after them, and the sending
// side is closed.
func (o *outbox) SendLast(octets []byte) {
	o.enqueue(frame{octets: octets, last: true})
	o.flush()
}

// SendState sends lines that describe the state of all subjects at one moment:
// no later update may come before them.
func (o *outbox) SendState(octets []byte) {
	o.enqueueState(octets)
	o.flush()
}

func (o *outbox) addSize(octets int) {
	o.size += octets
	o.handler.AddMemory(octets)
}

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
	if o.transport.IsBlocking() || !o.writeQueued(maxRounds) {
		o.startWriter()
	}
}

// startWriter hands the writing over to a goroutine.
func (o *outbox) startWriter() {
	o.handler.OnBehind()
	o.mu.Lock()
	o.hasWriter = true
	o.handler.AddMemory(writerCost)
	o.mu.Unlock()
	go o.writeLoop() // CloseOutput waits for it
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
		if err := o.transport.WaitWritable(); err != nil {
			o.Fail()
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
		n, clear, err := o.transport.Write(b.octets)
		if err != nil {
			o.Fail()
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
	now, limit := time.Now(), o.transport.BatchSize()
	o.mu.Lock()
	defer o.mu.Unlock()
	if sent := o.transport.SentOctets(); sent != o.lastSent || o.blockedSince.IsZero() {
		o.blockedSince, o.lastSent = now, sent
	}
	for o.inWrite < len(o.queue) && len(b.octets) < limit {
		f := &o.queue[o.inWrite]
		o.inWrite++
		o.addSize(-f.size())
		if u, ok := f.item.(*ownUpdate); ok && o.merge != nil {
			o.unmergeLocked(u)
		}
		if f.item == nil || f.item.Begin(now) {
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
		if f.item != nil {
			f.item.Requeue()
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
		_ = o.transport.CloseWrite() // fails only where the connection is gone
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
		o.handler.AddMemory(-writerCost)
	}
	o.writing = false
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// Fail handles a broken connection: the queue is dropped, and the handler's
// Abort called.
func (o *outbox) Fail() {
	o.mu.Lock()
	o.closing = true
	clear(o.queue)
	o.resetLocked()
	o.mu.Unlock()
	o.handler.Abort()
}

// RemoveDropped removes queued items that were dropped.
func (o *outbox) RemoveDropped() {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := slices.DeleteFunc(o.queue[o.inWrite:], func(f frame) bool {
		return f.item != nil && f.item.IsDropped()
	})
	o.queue = o.queue[:o.inWrite+len(rest)]
}

// AwaitDrained writes the queue, even if its writing was delayed by the
// coalescer, and returns when the queue is empty or can't be written.
func (o *outbox) AwaitDrained() {
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

// CloseOutput ends the sending after Close, and waits for the writer.
func (o *outbox) CloseOutput() {
	o.mu.Lock()
	o.closing = true
	if !o.writing {
		clear(o.queue)
		o.resetLocked()
	}
	o.mu.Unlock()
	o.awaitWriter()
}

// BlockedSince returns since when the client has accepted nothing of the
// queue; zero if nothing is queued.
func (o *outbox) BlockedSince() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		return time.Time{}
	}
	if sent := o.transport.SentOctets(); sent != o.lastSent {
		o.blockedSince, o.lastSent = time.Now(), sent
	}
	return o.blockedSince
}

// QueuedOctets returns the size of the queue, without items of size 0.
func (o *outbox) QueuedOctets() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size
}
