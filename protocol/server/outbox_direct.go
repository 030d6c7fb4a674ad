package server

import (
	"slices"
	"time"
)

// show puts n in and has it written. Where nothing waits, which is nearly
// always so for one who only watches, it goes straight to the kernel: of what a
// notification costs all but that write is then a lock, taken twice.
func (o *outbox) show(n *shown) {
	if o.direct(n.line) {
		return
	}
	o.put(frame{shown: n})
	o.flush()
}

// say has whole lines written: with all that is being gathered, or at once.
func (o *outbox) say(octets []byte) {
	if !o.gather.opened() && o.direct(octets) {
		return
	}
	o.put(frame{octets: octets})
	o.flush()
}

// direct writes octets, whole lines, if nothing waits and nobody writes; false:
// nothing was done.
func (o *outbox) direct(octets []byte) bool {
	w := o.beginDirect()
	if w == nil {
		return false
	}
	n, clear, err := w.write(octets)
	switch {
	case err != nil:
		o.fail()
	case o.endDirect(octets[n:], clear):
	case !clear || !o.drain(maxRounds):
		o.leaveToWriter()
	}
	return true
}

// beginDirect makes the caller the one who writes, if there is nothing else to
// write and it need not wait for that. It returns where to.
func (o *outbox) beginDirect() wire {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.closing || len(o.queue) > 0 || o.wire.waits() {
		return nil
	}
	o.writing = true
	return o.wire
}

// endDirect completes a direct write. rest is the part that the kernel did not
// accept; it is queued.
func (o *outbox) endDirect(rest []byte, clear bool) (finished bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(rest) == 0 && clear && len(o.queue) == 0 && o.idle == nil && !o.closing {
		o.writing = false
		return true
	}
	o.stuck, o.sent = time.Now(), o.wire.sent()
	if len(rest) > 0 {
		o.queue = slices.Insert(o.queue, 0, frame{octets: slices.Clone(rest)})
		o.grow(len(rest))
	}
	return o.finish(clear)
}
