package server

import (
	"sync"
	"time"

	"simpd/protocol"
)

// inbox is what a session has been given to deliver: messages that are
// unwritten or unanswered, and for some minutes the memory of those that its
// client accepted (SIMP.md, section 6, rules 4, 6 and 9).
//
// It never calls the outbox, nor any done, while it is locked.
type inbox struct {
	hash  *hasher
	usage *usage

	mu       sync.Mutex
	open     bool // the session listens
	ended    bool // it never will again
	number   uint64
	pending  pending
	octets   int // of their entities
	accepted dedupCache
}

// settled is the outcome of a delivery for one of those who wait for it.
type settled struct {
	done func(protocol.Outcome)
	protocol.Outcome
}

func settle(all []settled) {
	for _, s := range all {
		s.done(s.Outcome)
	}
}

// start makes the session listen; it returns false if it does already.
func (in *inbox) start() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.open || in.ended {
		return false
	}
	in.open = true
	return true
}

// listening reports whether messages are taken.
func (in *inbox) listening() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.open
}

// stop ends listening; it returns false if the session does not listen. What
// is not begun is certainly not delivered. What is begun may still be
// answered.
func (in *inbox) stop() ([]settled, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.open {
		return nil, false
	}
	in.open = false
	in.usage.forgetAccepted(in.accepted.forgetAll())
	return in.drop(), true
}

// refuseNew takes no more messages; those that were taken stay.
func (in *inbox) refuseNew() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open = false
}

// drop takes out what is not begun. in.mu is held.
func (in *inbox) drop() (all []settled) {
	in.pending.removeAll(func(d *delivery) bool {
		if d.state != begun {
			d.state = gone
			all = d.settle(all, protocol.StatusNotListening)
			in.uncount(d, 0)
		}
		return d.state == gone
	})
	return all
}

// messageCost is what a message takes besides its entity until it is answered.
const messageCost = 768

// count counts m, and what remembering it will take, unless that is too much
// (rules 6 and 9). in.mu is held.
func (in *inbox) count(m *protocol.Message) bool {
	if in.pending.len() >= protocol.MaxUnanswered || in.octets+len(m.Entity) > protocol.MaxUnansweredOctets ||
		!in.usage.mayAccept() || !in.usage.reserveEntity(m.Entity, messageCost+entryCost) {
		return false
	}
	in.octets += len(m.Entity)
	return true
}

// uncount undoes count, but for kept octets. in.mu is held.
func (in *inbox) uncount(d *delivery, kept int) {
	in.octets -= len(d.m.Entity)
	in.usage.releaseEntity(d.m.Entity, messageCost+entryCost-kept)
}

// remember keeps that the client has accepted d. in.mu is held.
func (in *inbox) remember(d *delivery, now time.Time) {
	cost := in.accepted.put(d.key, d.sum, now)
	in.uncount(d, cost)
	in.usage.noteAccepted(cost)
}

// forget drops what is not a repeat any more. in.mu is held.
func (in *inbox) forget(now time.Time) {
	in.usage.forgetAccepted(in.accepted.forget(now))
}

// end settles everything, as no answer will be read any more.
func (in *inbox) end() []settled {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open, in.ended = false, true
	all := in.drop()
	for _, d := range in.pending.all() {
		all = d.settle(all, protocol.StatusIndeterminate)
		in.uncount(d, 0)
	}
	in.pending = pending{}
	in.usage.forgetAccepted(in.accepted.forgetAll())
	return all
}

// take takes m in. It returns what is to be written; or an outcome that is
// known at once; or neither, where the answer to an earlier message serves.
func (in *inbox) take(m *protocol.Message, done func(protocol.Outcome)) (*delivery, protocol.Status) {
	key, sum := in.hash.message(m)
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.open {
		return nil, protocol.StatusNotListening
	}
	in.forget(now)
	if m.Repeatable { // nobody else has the id of another
		if served, status := in.repeat(key, sum, now, waiter{done, m.Deadline}); served || status != 0 {
			return nil, status
		}
	}
	if !in.count(m) {
		return nil, protocol.StatusNotReading
	}
	return in.add(&delivery{
		in: in, m: m, key: key, sum: sum, forget: now.Add(protocol.RepeatWindow),
	}, done), 0
}

// repeat has an earlier message's answer serve, or returns the outcome that is
// known at once. in.mu is held.
func (in *inbox) repeat(key, sum uint64, now time.Time, w waiter) (served bool, status protocol.Status) {
	if before, ok := in.accepted.get(key, now); ok {
		return false, repeated(before, sum, protocol.StatusOK)
	}
	d := in.find(key)
	if d == nil {
		return false, 0
	}
	if status = repeated(d.sum, sum, 0); status != 0 {
		return false, status
	}
	d.waiters = append(d.waiters, w)
	return true, 0
}

// repeated compares a repeat with the original: the same content yields the
// original outcome, different content is a conflict (409).
func repeated(before, now uint64, same protocol.Status) protocol.Status {
	if before != now {
		return protocol.StatusWrongState
	}
	return same
}

// find returns the delivery that a repeat joins. in.mu is held.
func (in *inbox) find(key uint64) *delivery {
	for _, d := range in.pending.all() {
		if d.key == key {
			return d
		}
	}
	return nil
}

func (in *inbox) add(d *delivery, done func(protocol.Outcome)) *delivery {
	in.number++
	d.number = in.number
	d.one[0] = waiter{done, d.m.Deadline}
	d.waiters = d.one[:]
	in.pending.add(d)
	return d
}

// answer takes what the client said to message number, now, and appends to all
// what is settled by it. One that is not asked (any more) is ignored.
func (in *inbox) answer(all []settled, number uint64, s protocol.Status, text string, now time.Time) []settled {
	in.mu.Lock()
	defer in.mu.Unlock()
	i, ok := in.pending.find(number)
	if !ok {
		return all
	}
	d := in.pending.all()[i]
	if d.state != begun {
		return all
	}
	in.pending.remove(i)
	if s.OK() {
		in.remember(d, now)
		return d.settle(all, protocol.StatusOK)
	}
	in.uncount(d, 0)
	return d.refuse(all, text)
}

// expire settles what nobody can wait for any longer, and forgets what is
// unanswered for too long. next is when to call again, if it is not zero;
// dropped says that messages which still wait to be written were dropped.
func (in *inbox) expire(now time.Time) (all []settled, next time.Time, dropped bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending.removeAll(func(d *delivery) bool {
		before := d.state
		all = append(all, d.expire(now)...)
		if d.state == gone {
			in.uncount(d, 0)
			dropped = dropped || before != begun
			return true
		}
		next = sooner(next, d.next())
		return false
	})
	in.forget(now)
	return all, sooner(next, in.accepted.due()), dropped
}

// sooner returns the earlier of two times, of which a zero one is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
