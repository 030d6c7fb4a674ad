package server

import (
	"strconv"
	"time"

	"simpd/protocol"
)

// delivery is one message on its way to one client. Its inbox's lock guards it.
type delivery struct {
	in      *inbox
	m       *protocol.Message
	number  uint64 // its tag is m and this
	key     uint64 // of sender and id
	sum     uint64 // of the octets
	state   progress
	forget  time.Time // when it no longer counts as unanswered
	waiters []waiter
	one     [1]waiter // what waiters usually is
}

// progress is how far a delivery is.
type progress uint8

const (
	waiting progress = iota // none of it is written
	begun                   // some of it is written, or is just being written
	gone                    // dropped or forgotten: it never will be
)

// waiter is one SEND that a delivery serves.
type waiter struct {
	done     func(protocol.Outcome)
	deadline time.Time
}

// begin is called as d is about to be written; false: it may not be.
func (d *delivery) begin(now time.Time) bool {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	if d.state != waiting || !d.wanted(now) {
		return false
	}
	d.state = begun
	return true
}

// putBack says that nothing of d was written after all.
func (d *delivery) putBack() {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	if d.state == begun {
		d.state = waiting
	}
}

// dropped reports whether d will never be written.
func (d *delivery) dropped() bool {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	return d.state == gone
}

// wanted reports whether anybody still waits for d.
func (d *delivery) wanted(now time.Time) bool {
	for _, w := range d.waiters {
		if now.Before(w.deadline) {
			return true
		}
	}
	return false
}

// settle gives all who wait the same outcome, appended to all.
func (d *delivery) settle(all []settled, s protocol.Status) []settled {
	for _, w := range d.waiters {
		all = append(all, settled{w.done, protocol.Outcome{Status: s}})
	}
	d.waiters = nil
	return all
}

// refuse tells all who wait that the client refused, and what it said.
func (d *delivery) refuse(all []settled, text string) []settled {
	before := len(all)
	all = d.settle(all, protocol.StatusRefused)
	for i := range all[before:] {
		all[before+i].Text = text
	}
	return all
}

// expire settles those whose time is over. A message of which nothing is
// written is dropped with the last of them, which is certain then; as long as
// it may be written for another's sake it is in doubt.
func (d *delivery) expire(now time.Time) (all []settled) {
	if d.state == begun && !now.Before(d.forget) {
		d.state = gone
		return d.settle(nil, protocol.StatusIndeterminate)
	}
	if d.state == waiting && !d.wanted(now) {
		d.state = gone
		return d.settle(nil, protocol.StatusNotReading)
	}
	kept := d.waiters[:0]
	for _, w := range d.waiters {
		if now.Before(w.deadline) {
			kept = append(kept, w)
			continue
		}
		all = append(all, settled{w.done, protocol.Outcome{Status: protocol.StatusIndeterminate}})
	}
	d.waiters = kept
	return all
}

// next is when expire has to be called again.
func (d *delivery) next() time.Time {
	var at time.Time
	for _, w := range d.waiters {
		at = sooner(at, w.deadline)
	}
	if at.IsZero() {
		return d.forget
	}
	return at
}

// appendTo encodes the MESSAGE.
func (d *delivery) appendTo(b []byte) []byte {
	b = append(b, messageTag...)
	b = strconv.AppendUint(b, d.number, 10)
	b = append(b, " MESSAGE"...)
	b = protocol.AppendParam(b, "from", d.m.From.String())
	b = protocol.AppendParam(b, "to", d.m.To.String())
	b = protocol.AppendParam(b, "id", d.m.ID)
	b = protocol.AppendTime(b, "time", d.m.Time)
	b = protocol.AppendLiteral(b, len(d.m.Entity))
	b = protocol.AppendEnd(b)
	return append(b, d.m.Entity...)
}
