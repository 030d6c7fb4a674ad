package link

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// What a node keeps for another one, and what goes in one frame.
const (
	maxQueued       = 4096
	maxQueuedOctets = 16 << 20
	maxPending      = 64 << 10
	maxFrame        = 64
	maxFrameOctets  = 32 << 10
)

// parcel is a message on its way to a session of another node.
type parcel struct {
	session store.Session
	message *protocol.Message
	done    func(protocol.Outcome)
}

// handed is what is kept of a parcel that was given to the stream: from then
// on nobody can say that the other node has not got it.
type handed struct {
	done     func(protocol.Outcome)
	deadline time.Time
}

// outbox holds what waits for one node: parcels to be sent, in order, and
// sent ones to be answered. Each parcel's done is called exactly once, never
// under the lock.
type outbox struct {
	mu      sync.Mutex
	shut    string // not empty: why nothing is taken in
	queue   []parcel
	head    int // queue[:head] is gone
	octets  int
	pending map[uint64]handed
	number  uint64
}

// put takes p in at the end. It returns why not, if it does not.
func (o *outbox) put(p parcel) (refused string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(p.message.Entity)
	switch {
	case o.shut != "":
		return o.shut
	case len(o.queue)-o.head >= maxQueued || o.octets+size > maxQueuedOctets || len(o.pending) >= maxPending:
		return "too much waits for the recipient's node"
	}
	if o.head > 0 && len(o.queue) == cap(o.queue) {
		o.compact()
	}
	o.queue = append(o.queue, p)
	o.octets += size
	return ""
}

func (o *outbox) compact() {
	n := copy(o.queue, o.queue[o.head:])
	clear(o.queue[n:])
	o.queue, o.head = o.queue[:n], 0
}

// take moves parcels for one frame from the queue to those that are pending
// and appends them to dst; the first of them has the number returned, the
// others the numbers after it. Those that are late by now are answered.
func (o *outbox) take(dst []parcel, now time.Time) (taken []parcel, first uint64) {
	o.mu.Lock()
	var late []parcel
	first = o.number + 1
	for size := 0; o.head < len(o.queue) && len(dst) < maxFrame; o.head++ {
		p := o.queue[o.head]
		if size += len(p.message.Entity); size > maxFrameOctets && len(dst) > 0 {
			break
		}
		o.queue[o.head] = parcel{}
		o.octets -= len(p.message.Entity)
		if !p.message.Deadline.After(now) {
			late = append(late, p)
			continue
		}
		o.hand(p)
		dst = append(dst, p)
	}
	if o.head == len(o.queue) {
		o.queue, o.head = o.queue[:0], 0
	}
	o.mu.Unlock()
	answer(late, "the recipient's node was not reached in time")
	return dst, first
}

func (o *outbox) hand(p parcel) {
	if o.pending == nil {
		o.pending = map[uint64]handed{}
	}
	o.number++
	o.pending[o.number] = handed{p.done, p.message.Deadline}
}

// answered ends the parcel of that number, unless it has ended before.
func (o *outbox) answered(number uint64, outcome protocol.Outcome) {
	o.mu.Lock()
	h, ok := o.pending[number]
	delete(o.pending, number)
	o.mu.Unlock()
	if ok {
		h.done(outcome)
	}
}

// broken ends all that was handed to a stream which is no more.
func (o *outbox) broken() {
	o.mu.Lock()
	lost := o.pending
	o.pending = nil
	o.mu.Unlock()
	for _, h := range lost {
		h.done(protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "the way to the recipient's node broke"})
	}
}

// overdue ends what nobody waits for any more: its sender was told 201.
func (o *outbox) overdue(now time.Time) {
	o.mu.Lock()
	var gone []handed
	for number, h := range o.pending {
		if h.deadline.Before(now) {
			gone = append(gone, h)
			delete(o.pending, number)
		}
	}
	o.mu.Unlock()
	for _, h := range gone {
		h.done(protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "no answer in time"})
	}
}

// close answers all that waits to be sent, and takes nothing in until open.
func (o *outbox) close(why string) {
	o.mu.Lock()
	waiting := o.queue[o.head:]
	o.queue, o.head, o.octets = nil, 0, 0
	o.shut = why
	o.mu.Unlock()
	answer(waiting, why)
}

func (o *outbox) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = ""
}

// answer says 503: parcels were certainly not handed over.
func answer(parcels []parcel, why string) {
	for _, p := range parcels {
		p.done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: why})
	}
}
