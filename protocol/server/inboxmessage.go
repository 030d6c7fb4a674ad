package server

import (
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// inboxMessage is one message on its way to one client. Its inbox's lock guards
// it. It is a netio.Item.
type inboxMessage struct {
	inbox     *inbox
	message   *protocol.Message
	number    uint64 // its tag is "m" followed by this number
	key       uint64 // hash of sender and ID
	sum       uint64 // hash of the content
	state     messageState
	forgetAt  time.Time // when it no longer counts as unanswered
	waiters   []waiter
	waiterBuf [1]waiter // avoids an allocation for waiters
}

// messageState is the progress of a message to the client.
type messageState uint8

const (
	stateQueued  messageState = iota // nothing of it is written
	stateBegun                       // some of it is written or being written
	stateDropped                     // it will never be written
)

// waiter is one SEND that waits for the outcome.
type waiter struct {
	done     func(protocol.Outcome)
	deadline time.Time
}

// Size returns 0: the inbox counts d.
func (d *inboxMessage) Size() int { return 0 }

// Begin is called when d is about to be written. It returns false if d
// must not be written.
func (d *inboxMessage) Begin(now time.Time) bool {
	d.inbox.mu.Lock()
	defer d.inbox.mu.Unlock()
	if d.state != stateQueued || !d.isWanted(now) {
		return false
	}
	d.state = stateBegun
	return true
}

// Requeue records that nothing of d was written after all.
func (d *inboxMessage) Requeue() {
	d.inbox.mu.Lock()
	defer d.inbox.mu.Unlock()
	if d.state == stateBegun {
		d.state = stateQueued
	}
}

// IsDropped reports whether d will never be written.
func (d *inboxMessage) IsDropped() bool {
	d.inbox.mu.Lock()
	defer d.inbox.mu.Unlock()
	return d.state == stateDropped
}

// isWanted reports whether any SEND still waits for d.
func (d *inboxMessage) isWanted(now time.Time) bool {
	for _, w := range d.waiters {
		if now.Before(w.deadline) {
			return true
		}
	}
	return false
}

// complete gives all waiters the same outcome, appended to all.
func (d *inboxMessage) complete(all []completedSend, s protocol.Status) []completedSend {
	for _, w := range d.waiters {
		all = append(all, completedSend{w.done, protocol.Outcome{Status: s}})
	}
	d.waiters = nil
	return all
}

// completeRefused tells all waiters that the client refused, with its text.
func (d *inboxMessage) completeRefused(all []completedSend, text string) []completedSend {
	before := len(all)
	all = d.complete(all, protocol.StatusRefused)
	for i := range all[before:] {
		all[before+i].Text = text
	}
	return all
}

// expire completes the waiters whose deadline has passed. A message of which
// nothing is written is dropped with the last waiter, which is then certain;
// while it may be written for another waiter, it is in doubt.
func (d *inboxMessage) expire(now time.Time) (all []completedSend) {
	if d.state == stateBegun && !now.Before(d.forgetAt) {
		d.state = stateDropped
		return d.complete(nil, protocol.StatusIndeterminate)
	}
	if d.state == stateQueued && !d.isWanted(now) {
		d.state = stateDropped
		return d.complete(nil, protocol.StatusNotReading)
	}
	kept := d.waiters[:0]
	for _, w := range d.waiters {
		if now.Before(w.deadline) {
			kept = append(kept, w)
			continue
		}
		all = append(all, completedSend{w.done, protocol.Outcome{Status: protocol.StatusIndeterminate}})
	}
	d.waiters = kept
	return all
}

// nextExpiry returns when expire has to be called next.
func (d *inboxMessage) nextExpiry() time.Time {
	var at time.Time
	for _, w := range d.waiters {
		at = wait.Earlier(at, w.deadline)
	}
	if at.IsZero() {
		return d.forgetAt
	}
	return at
}

// AppendTo appends the MESSAGE to b.
func (d *inboxMessage) AppendTo(b []byte) []byte {
	b = append(b, messageTag...)
	b = strconv.AppendUint(b, d.number, 10)
	b = append(b, " MESSAGE"...)
	b = protocol.AppendParam(b, "from", d.message.From.String())
	b = protocol.AppendParam(b, "to", d.message.To.String())
	b = protocol.AppendParam(b, "id", d.message.ID)
	b = protocol.AppendTime(b, "time", d.message.Time)
	b = protocol.AppendLiteral(b, len(d.message.Entity))
	b = protocol.AppendEnd(b)
	return append(b, d.message.Entity...)
}
