package server

import (
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// inbox holds the messages given to a session: queued or unanswered ones, and
// for some minutes the hashes of those that its client accepted (SIMP.md,
// section 6, rules 4, 6 and 9).
//
// It never calls the outbox or a done function while it is locked.
type inbox struct {
	hash  *messageHasher
	usage *usage

	mu       sync.Mutex
	isOpen   bool // the session listens
	ended    bool // it never will again
	number   uint64
	pending  inboxMessages
	octets   int // of the pending entities
	accepted dedupCache
}

// completedSend is an outcome for one of the SENDs that wait for a message.
type completedSend struct {
	done func(protocol.Outcome)
	protocol.Outcome
}

func reportAll(all []completedSend) {
	for _, s := range all {
		s.done(s.Outcome)
	}
}

// startListening makes the session listen. It returns false if it listens
// already.
func (in *inbox) startListening() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.isOpen || in.ended {
		return false
	}
	in.isOpen = true
	return true
}

// isListening reports whether messages are accepted.
func (in *inbox) isListening() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.isOpen
}

// stopListening ends listening. It returns false if the session does not
// listen. Messages whose writing has not begun are certainly not delivered;
// the others may still be answered.
func (in *inbox) stopListening() ([]completedSend, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.isOpen {
		return nil, false
	}
	in.isOpen = false
	in.usage.releaseAccepted(in.accepted.clear())
	return in.dropQueuedLocked(), true
}

// refuseNew accepts no more messages, but keeps those accepted before.
func (in *inbox) refuseNew() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.isOpen = false
}

// dropQueuedLocked removes messages whose writing has not begun.
func (in *inbox) dropQueuedLocked() (all []completedSend) {
	in.pending.removeAll(func(d *inboxMessage) bool {
		if d.state != stateBegun {
			d.state = stateDropped
			all = d.complete(all, protocol.StatusNotListening)
			in.releaseLocked(d, 0)
		}
		return d.state == stateDropped
	})
	return all
}

// messageCost is the memory of a message, besides its entity, until it is
// answered.
const messageCost = 768

// reserveLocked counts m and the memory needed to remember it, unless that is
// too much (rules 6 and 9).
func (in *inbox) reserveLocked(m *protocol.Message) bool {
	if in.pending.len() >= protocol.MaxUnanswered || in.octets+len(m.Entity) > protocol.MaxUnansweredOctets ||
		!in.usage.canAccept() || !in.usage.reserveEntity(m.Entity, messageCost+entryCost) {
		return false
	}
	in.octets += len(m.Entity)
	return true
}

// releaseLocked undoes reserveLocked, except for kept octets.
func (in *inbox) releaseLocked(d *inboxMessage, kept int) {
	in.octets -= len(d.message.Entity)
	in.usage.releaseEntity(d.message.Entity, messageCost+entryCost-kept)
}

// rememberLocked records that the client has accepted d.
func (in *inbox) rememberLocked(d *inboxMessage, now time.Time) {
	cost := in.accepted.put(d.key, d.sum, now)
	in.releaseLocked(d, cost)
	in.usage.addAccepted(cost)
}

// expireDedupLocked forgets messages whose repeat window has ended.
func (in *inbox) expireDedupLocked(now time.Time) {
	in.usage.releaseAccepted(in.accepted.expire(now))
}

// close completes everything, because no more responses will be read.
func (in *inbox) close() []completedSend {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.isOpen, in.ended = false, true
	all := in.dropQueuedLocked()
	for _, d := range in.pending.all() {
		all = d.complete(all, protocol.StatusIndeterminate)
		in.releaseLocked(d, 0)
	}
	in.pending = inboxMessages{}
	in.usage.releaseAccepted(in.accepted.clear())
	return all
}

// accept accepts m. It returns what is to be written; or an outcome that is
// known at once; or neither, if the response to an earlier message serves.
func (in *inbox) accept(m *protocol.Message, done func(protocol.Outcome)) (*inboxMessage, protocol.Status) {
	key, sum := in.hash.hashMessage(m)
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.isOpen {
		return nil, protocol.StatusNotListening
	}
	in.expireDedupLocked(now)
	if m.Repeatable { // generated IDs are unique
		if served, status := in.joinRepeatLocked(key, sum, now, waiter{done, m.Deadline}); served || status != 0 {
			return nil, status
		}
	}
	if !in.reserveLocked(m) {
		return nil, protocol.StatusNotReading
	}
	return in.addLocked(&inboxMessage{
		inbox: in, message: m, key: key, sum: sum, forgetAt: now.Add(protocol.RepeatWindow),
	}, done), 0
}

// joinRepeatLocked makes w wait for an earlier message's response, or returns
// the outcome if it is known.
func (in *inbox) joinRepeatLocked(key, sum uint64, now time.Time, w waiter) (served bool, status protocol.Status) {
	if before, ok := in.accepted.get(key, now); ok {
		return false, repeatStatus(before, sum, protocol.StatusOK)
	}
	d := in.findLocked(key)
	if d == nil {
		return false, 0
	}
	if status = repeatStatus(d.sum, sum, 0); status != 0 {
		return false, status
	}
	d.waiters = append(d.waiters, w)
	return true, 0
}

// repeatStatus compares a repeat with the original: the same content yields the
// original outcome, different content is a conflict (409).
func repeatStatus(before, now uint64, same protocol.Status) protocol.Status {
	if before != now {
		return protocol.StatusWrongState
	}
	return same
}

// findLocked returns the pending message with that key, or nil.
func (in *inbox) findLocked(key uint64) *inboxMessage {
	for _, d := range in.pending.all() {
		if d.key == key {
			return d
		}
	}
	return nil
}

func (in *inbox) addLocked(d *inboxMessage, done func(protocol.Outcome)) *inboxMessage {
	in.number++
	d.number = in.number
	d.waiterBuf[0] = waiter{done, d.message.Deadline}
	d.waiters = d.waiterBuf[:]
	in.pending.add(d)
	return d
}

// onAnswer handles the client's response to message number, and appends the
// completed SENDs to all. Responses to unknown messages are ignored.
func (in *inbox) onAnswer(all []completedSend, number uint64, s protocol.Status, text string, now time.Time) []completedSend {
	in.mu.Lock()
	defer in.mu.Unlock()
	i, ok := in.pending.find(number)
	if !ok {
		return all
	}
	d := in.pending.all()[i]
	if d.state != stateBegun {
		return all
	}
	in.pending.remove(i)
	if s.OK() {
		in.rememberLocked(d, now)
		return d.complete(all, protocol.StatusOK)
	}
	in.releaseLocked(d, 0)
	return d.completeRefused(all, text)
}

// expire completes what nobody can wait for any longer, and forgets messages
// that have been unanswered for too long. next is when to call it again, if
// not zero. dropped reports that queued messages were dropped.
func (in *inbox) expire(now time.Time) (all []completedSend, next time.Time, dropped bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending.removeAll(func(d *inboxMessage) bool {
		before := d.state
		all = append(all, d.expire(now)...)
		if d.state == stateDropped {
			in.releaseLocked(d, 0)
			dropped = dropped || before != stateBegun
			return true
		}
		next = wait.Earlier(next, d.nextExpiry())
		return false
	})
	in.expireDedupLocked(now)
	return all, wait.Earlier(next, in.accepted.nextExpiry()), dropped
}
