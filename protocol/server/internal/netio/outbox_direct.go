package netio

import (
	"slices"
	"time"
)

// SendUpdate sends u. If nothing is queued, which is nearly always so for a
// client that is only told of changes, it is passed directly to the kernel, so
// that all it costs besides that write is locking twice.
func (o *outbox) SendUpdate(u Update) {
	if o.writeDirect(u.Line()) {
		return
	}
	if !o.tryEnqueueUpdate(u) {
		o.handler.Abort()
	}
	o.flush()
}

// Send sends complete lines, at once or with the coalesced output.
func (o *outbox) Send(octets []byte) {
	if !o.coalescer.isCorked() && o.writeDirect(octets) {
		return
	}
	o.enqueue(frame{octets: octets})
	o.flush()
}

// writeDirect writes complete lines if nothing is queued and nobody writes.
// It returns false if it did nothing.
func (o *outbox) writeDirect(octets []byte) bool {
	w := o.beginDirect()
	if w == nil {
		return false
	}
	n, clear, err := w.Write(octets)
	switch {
	case err != nil:
		o.Fail()
	case o.endDirect(octets[n:], clear):
	case !clear || !o.writeQueued(maxRounds):
		o.startWriter()
	}
	return true
}

// beginDirect makes the caller the writer if nothing else has to be written
// and writing does not block. It returns the transport, or nil.
func (o *outbox) beginDirect() Transport {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.closing || len(o.queue) > 0 || o.transport.IsBlocking() {
		return nil
	}
	o.writing = true
	return o.transport
}

// endDirect completes a direct write. rest is the part that the kernel did
// not accept; it is queued.
func (o *outbox) endDirect(rest []byte, clear bool) (finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(rest) == 0 && clear && len(o.queue) == 0 && o.idle == nil && !o.closing {
		o.writing = false
		return true
	}
	o.blockedSince, o.lastSent = time.Now(), o.transport.SentOctets()
	if len(rest) > 0 {
		o.queue = slices.Insert(o.queue, 0, frame{octets: slices.Clone(rest)})
		o.addSize(len(rest))
	}
	return o.finishWriteLocked(clear)
}
