package link

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/shrink"
	"simpd/store"
)

// Limits of a queue and of a frame.
const (
	maxQueued       = 4096
	maxQueuedOctets = 16 << 20
	maxPending      = 64 << 10
	maxFrame        = 64
	maxFrameOctets  = 32 << 10

	// lateOutcomeGrace is how long after its deadline an envelope stays pending.
	// It is more than router.outcomeGrace, so that an outcome that comes at the
	// last moment is not lost; see server.answerGrace.
	lateOutcomeGrace = time.Second
)

// envelope is a message on its way to a session of another node.
type envelope struct {
	session store.Session
	message *protocol.Message
	done    func(protocol.Outcome)
}

// pendingAck is what is kept of an envelope after it was sent: from then on
// the other node may have received it.
type pendingAck struct {
	done     func(protocol.Outcome)
	deadline time.Time
}

// envelopeQueue holds the envelopes for one node: queued ones in order, and sent
// ones that wait for an outcome. Each envelope's done is called exactly once,
// never under the lock.
type envelopeQueue struct {
	mu           sync.Mutex
	closedReason string // if not empty, new envelopes are refused with this reason
	queue        []envelope
	head         int // queue[:head] is unused
	octets       int
	pending      map[uint64]pendingAck
	mostPending  int // the most entries of pending since it was made
	number       uint64
}

// enqueue appends p. It returns the reason if it refuses it.
func (o *envelopeQueue) enqueue(p envelope) (refused string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(p.message.Entity)
	switch {
	case o.closedReason != "":
		return o.closedReason
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

func (o *envelopeQueue) compact() {
	n := copy(o.queue, o.queue[o.head:])
	clear(o.queue[n:])
	o.queue, o.head = o.queue[:n], 0
}

// takeFrame moves envelopes for one frame from the queue to the pending ones
// and appends them to dst. The first has the returned number, the others the
// following numbers. Envelopes past their deadline are ended.
func (o *envelopeQueue) takeFrame(dst []envelope, now time.Time) (taken []envelope, first uint64) {
	o.mu.Lock()
	var late []envelope
	first = o.number + 1
	for size := 0; o.head < len(o.queue) && len(dst) < maxFrame; o.head++ {
		p := o.queue[o.head]
		if size += len(p.message.Entity); size > maxFrameOctets && len(dst) > 0 {
			break
		}
		o.queue[o.head] = envelope{}
		o.octets -= len(p.message.Entity)
		if !p.message.Deadline.After(now) {
			late = append(late, p)
			continue
		}
		o.markSentLocked(p)
		dst = append(dst, p)
	}
	if o.head == len(o.queue) {
		o.queue, o.head = o.queue[:0], 0
	}
	o.mu.Unlock()
	rejectAll(late, "the recipient's node was not reached in time")
	return dst, first
}

func (o *envelopeQueue) markSentLocked(p envelope) {
	if o.pending == nil {
		o.pending = map[uint64]pendingAck{}
	}
	o.number++
	o.pending[o.number] = pendingAck{p.done, p.message.Deadline}
}

// forgetLocked removes a pending envelope.
func (o *envelopeQueue) forgetLocked(number uint64) {
	delete(o.pending, number)
	o.pending = shrink.AfterDelete(o.pending, &o.mostPending)
}

// acknowledge ends the envelope with that number, unless it has ended before.
func (o *envelopeQueue) acknowledge(number uint64, outcome protocol.Outcome) {
	o.mu.Lock()
	h, ok := o.pending[number]
	if ok {
		o.forgetLocked(number)
	}
	o.mu.Unlock()
	if ok {
		h.done(outcome)
	}
}

// failPending ends all envelopes that were sent on a stream that has broken.
func (o *envelopeQueue) failPending() {
	o.mu.Lock()
	lost := o.pending
	o.pending, o.mostPending = nil, 0
	o.mu.Unlock()
	for _, h := range lost {
		h.done(protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "the way to the recipient's node broke"})
	}
}

// expirePending ends envelopes that have been past their deadline for
// lateOutcomeGrace, whose senders have been told 201.
func (o *envelopeQueue) expirePending(now time.Time) {
	o.mu.Lock()
	var gone []pendingAck
	for number, h := range o.pending {
		if h.deadline.Add(lateOutcomeGrace).Before(now) {
			gone = append(gone, h)
			o.forgetLocked(number)
		}
	}
	o.mu.Unlock()
	for _, h := range gone {
		h.done(protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "handed over, but no answer came"})
	}
}

// close ends all queued envelopes, and refuses new ones until open.
func (o *envelopeQueue) close(why string) {
	o.mu.Lock()
	waiting := o.queue[o.head:]
	o.queue, o.head, o.octets = nil, 0, 0
	o.closedReason = why
	o.mu.Unlock()
	rejectAll(waiting, why)
}

func (o *envelopeQueue) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closedReason = ""
}

// rejectAll ends envelopes that were certainly not delivered with 503.
func rejectAll(parcels []envelope, why string) {
	for _, p := range parcels {
		p.done(protocol.Outcome{Status: protocol.StatusUnavailable, Text: why})
	}
}
