package server

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
)

// outbox is what waits to be written to one client. Whoever puts something
// in writes it, if nobody writes just then and as far as the client takes it
// without waiting; the rest is left to a goroutine that lives until nothing
// is left. So whoever puts something in never waits.
//
// What waits can change: a message is dropped when its time is over, and
// where much waits a change of presence gives way to a newer one of the same
// address.
type outbox struct {
	// What writing a notification needs stands first, and first in a session:
	// of a thousand that are told one after the other little is in a cache.
	mu      sync.Mutex
	writing bool          // somebody writes
	closing bool          // nothing more is put in
	staffed bool          // a goroutine writes
	joined  bool          // it is in the gather's list; the gather's
	wire    wire          // changed by thaw
	queue   []frame       // what waits
	idle    chan struct{} // closed when nobody writes; nil while nobody waits for that

	taken  int                           // frames at the queue's head that are being written
	size   int                           // of what waits, messages aside
	merge  map[protocol.Address][]*shown // notices in whose place newer ones may come
	stuck  time.Time                     // since when no octet of what waits was taken
	sent   uint64                        // wire.sent() then
	gather *gather
	owner  outboxOwner
}

// outboxOwner is told what becomes of the writing.
type outboxOwner interface {
	behind()                // the client does not take all at once
	hold(octets int)        // so many more wait, or fewer
	bears(waiting int) bool // so many octets may wait
	cut()                   // nothing can be written any more
}

// maxRounds is how many writes are made in a row by somebody who has other
// things to do.
const maxRounds = 4

// maxWaiting is how many octets, messages aside, may wait: those of as many
// answers as requests may be, and of their refusals.
const maxWaiting = protocol.MaxRequestOctets + 1<<20

// mergeFrom is how many octets, messages aside, wait for a client that reads too
// slowly to be told each change of presence. Less may wait for one that reads
// as fast as it can, when many changes come at once.
const mergeFrom = 256 << 10

// put puts f in; it is written with the next flush. A client that asks on and
// on and reads nothing is cut off.
func (o *outbox) put(f frame) {
	if !o.putIn(f) {
		o.owner.cut()
	}
}

func (o *outbox) putIn(f frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing:
		return true
	case f.shown != nil && o.size >= mergeFrom:
		o.putShown(f.shown)
	default:
		o.closing = f.last
		o.append(f)
	}
	return o.owner.bears(o.size)
}

func (o *outbox) grow(octets int) {
	o.size += octets
	o.owner.hold(octets)
}

// putState puts in lines that say how presence is at one moment: no later
// notice may come before them.
func (o *outbox) putState(octets []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return
	}
	o.merge = nil
	o.append(frame{octets: octets})
}

// flush has what waits written: now, or with all that is being gathered.
func (o *outbox) flush() {
	if o.gather.join(o) {
		return
	}
	o.flushNow()
}

func (o *outbox) flushNow() {
	if !o.begin() {
		return
	}
	if o.wire.waits() || !o.drain(maxRounds) {
		o.leaveToWriter()
	}
}

// leaveToWriter is for the one who writes, and has no more time to.
func (o *outbox) leaveToWriter() {
	o.owner.behind()
	o.mu.Lock()
	o.staffed = true
	o.owner.hold(writerCost)
	o.mu.Unlock()
	go o.writer() // close waits for it
}

// writerCost is what a goroutine takes that writes to a client which does not
// take all at once: its stack, its batch, and what TLS has encrypted.
const writerCost = 24 << 10

// begin makes the caller the one who writes, if there is something to write
// and nobody does.
func (o *outbox) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || len(o.queue) == 0 {
		return false
	}
	o.writing = true
	return true
}

// writer writes until nothing waits.
func (o *outbox) writer() {
	for {
		if err := o.wire.wait(); err != nil {
			o.fail()
			return
		}
		if o.drain(-1) {
			return
		}
	}
}

// drain writes what waits, in as many writes as rounds says. It returns false
// if something is left that the caller still has to write; else the caller
// writes no more.
func (o *outbox) drain(rounds int) bool {
	b := newBatch()
	defer b.free()
	for ; rounds != 0; rounds-- {
		o.take(b)
		n, clear, err := o.wire.write(b.octets)
		if err != nil {
			o.fail()
			return true
		}
		if o.written(b, n, clear) {
			return true
		}
		if !clear {
			return false
		}
	}
	return false
}

// take fills b with frames at the head of the queue, which they leave once they
// are written.
func (o *outbox) take(b *batch) {
	b.reset()
	now, limit := time.Now(), o.wire.batch()
	o.mu.Lock()
	defer o.mu.Unlock()
	if sent := o.wire.sent(); sent != o.sent || o.stuck.IsZero() {
		o.stuck, o.sent = now, sent
	}
	for o.taken < len(o.queue) && len(b.octets) < limit {
		f := &o.queue[o.taken]
		o.taken++
		o.grow(-f.size())
		if f.shown != nil && o.merge != nil {
			o.unmerge(f.shown)
		}
		if f.delivery == nil || f.delivery.begin(now) {
			b.octets = f.appendTo(b.octets)
		}
		b.ends = append(b.ends, len(b.octets))
	}
}

// written takes out of the queue what is written of b, n octets, and tells
// whether nothing is left to write: then the caller is no longer the one who
// writes.
func (o *outbox) written(b *batch, n int, clear bool) (finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := b.whole(n)
	for i := whole; i < o.taken; i++ {
		f := &o.queue[i]
		if start := b.start(i); n > start { // its tail is all that waits
			*f = frame{octets: slices.Clone(b.octets[n:b.ends[i]]), last: f.last}
		}
		if f.delivery != nil {
			f.delivery.putBack()
		}
		o.grow(f.size())
	}
	o.queue, o.taken = slices.Delete(o.queue, 0, whole), 0
	return o.finish(clear)
}

// finish is called after a write, and reports whether nothing is left to write:
// then the caller is no longer the one who writes. o.mu is held.
func (o *outbox) finish(clear bool) bool {
	if !clear || len(o.queue) > 0 {
		return false
	}
	if o.closing {
		_ = o.wire.closeWrite() // fails only where the connection is gone
	}
	o.clear()
	return true
}

// clear leaves nothing waiting and nobody writing. o.mu is held.
func (o *outbox) clear() {
	freeQueue(o.queue)
	o.queue, o.taken = nil, 0
	o.merge, o.stuck = nil, time.Time{}
	o.grow(-o.size)
	if o.staffed {
		o.staffed = false
		o.owner.hold(-writerCost)
	}
	o.writing = false
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// fail: the connection is broken. What waits is not written any more; the
// messages among it are settled by the inbox.
func (o *outbox) fail() {
	o.mu.Lock()
	o.closing = true
	clear(o.queue)
	o.clear()
	o.mu.Unlock()
	o.owner.cut()
}

// purge forgets messages that wait and were dropped.
func (o *outbox) purge() {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := slices.DeleteFunc(o.queue[o.taken:], func(f frame) bool {
		return f.delivery != nil && f.delivery.dropped()
	})
	o.queue = o.queue[:o.taken+len(rest)]
}

// drained writes what waits, also what was left to a gather's end, and returns
// when nothing waits any more or nothing can be written.
func (o *outbox) drained() {
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

// close ends the outbox once its wire is closed, and waits for who writes.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
	if !o.writing {
		clear(o.queue)
		o.clear()
	}
	o.mu.Unlock()
	o.awaitWriter()
}

// stuckSince returns since when the client takes nothing of what waits; zero:
// nothing waits.
func (o *outbox) stuckSince() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		return time.Time{}
	}
	if sent := o.wire.sent(); sent != o.sent {
		o.stuck, o.sent = time.Now(), sent
	}
	return o.stuck
}

func (o *outbox) held() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size
}

// freeze waits until nothing waits to be written, and lets nothing be written
// before thaw. It returns false if nothing can be written any more.
func (o *outbox) freeze() bool {
	o.drained()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = true
	return !o.closing
}

// thaw goes on, with another wire.
func (o *outbox) thaw(w wire) {
	o.mu.Lock()
	o.wire = w
	o.writing = false
	o.mu.Unlock()
	o.flush()
}
