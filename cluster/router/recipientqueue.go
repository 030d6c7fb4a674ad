package router

import (
	"context"
	"time"

	"simpd/protocol"
)

// recipientQueue orders one connection's messages to one recipient. While a
// look-up for an earlier message is pending, later ones wait, so that they
// arrive in the order sent.
type recipientQueue struct {
	to            protocol.Address
	unfinished    int    // messages without an outcome
	newestSent    uint64 // number of the newest message handed to a session
	lookupPending bool   // a look-up is running
	waiting       []*delivery
	hasPassed     bool // the policy program lets the pair's messages pass
}

func (l *recipientQueue) isActive() bool { return l.unfinished > 0 || l.lookupPending }

// queueLocked returns the queue for a recipient, creating it if necessary.
// The most recently used queue is kept; others only while they are active.
func (s *sender) queueLocked(to protocol.Address) *recipientQueue {
	if s.recent != nil && s.recent.to == to {
		return s.recent
	}
	l := s.others[to]
	if l == nil {
		l = &recipientQueue{to: to}
	}
	delete(s.others, to)
	if s.recent != nil && s.recent.isActive() {
		if s.others == nil {
			s.others = make(map[protocol.Address]*recipientQueue)
		}
		s.others[s.recent.to] = s.recent
	}
	s.recent = l
	return l
}

// isRecent reports whether the newest message was to the same recipient.
func (s *sender) isRecent(to protocol.Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent != nil && s.recent.to == to
}

// dropIdleLocked forgets l if it is idle and not the most recent.
func (s *sender) dropIdleLocked(l *recipientQueue) {
	if l != s.recent && !l.isActive() && s.others[l.to] == l {
		delete(s.others, l.to)
	}
}

// enqueue numbers d and puts it into its recipient's queue. It returns false
// if d has to wait for a pending look-up.
func (s *sender) enqueue(d *delivery, mayWait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastNumber++
	d.number = s.lastNumber
	d.queue = s.queueLocked(d.m.To)
	d.queue.unfinished++
	if !mayWait || !d.queue.lookupPending {
		return true
	}
	d.lookupPending, d.isUnjudged = true, s.r.config.Policy != nil
	d.queue.waiting = append(d.queue.waiting, d)
	d.armTimeout()
	return false
}

// requestLookup starts a look-up after a read barrier for d, or joins the
// pending one.
func (s *sender) requestLookup(d *delivery) {
	d.armTimeout()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := d.queue
	l.waiting = append(l.waiting, d)
	if !l.lookupPending {
		l.lookupPending = true
		go s.runLookups(l)
	}
}

// runLookups performs read barriers and finishes the look-ups that waited
// when each began, until none waits. It ends at the last deadline of the
// messages at the latest.
func (s *sender) runLookups(l *recipientQueue) {
	for {
		s.mu.Lock()
		batch := l.waiting
		if l.waiting = nil; len(batch) == 0 {
			l.lookupPending = false
			s.dropIdleLocked(l)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		batch = s.awaitVerdicts(batch)
		if len(batch) == 0 {
			continue
		}
		err := s.confirmTable(batch)
		for _, d := range batch {
			d.finishLookup(err)
		}
	}
}

func (s *sender) confirmTable(batch []*delivery) error {
	var last time.Time
	for _, d := range batch {
		if d.m.Deadline.After(last) {
			last = d.m.Deadline
		}
	}
	ctx, cancel := context.WithDeadline(s.r.ctx, last)
	defer cancel()
	begun := time.Now()
	err := s.r.directory.ReadBarrier(ctx)
	s.r.metrics.Lookup.ObserveSince(begun)
	s.r.metrics.Lookups.add(err)
	return err
}

// noteSent records that d is being handed to a session.
func (s *sender) noteSent(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.queue.newestSent = max(d.queue.newestSent, d.number)
}

// wasOvertaken reports whether a later message to the same recipient was
// handed to a session before d. That may be the session that would now
// receive d.
func (s *sender) wasOvertaken(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.queue.newestSent > d.number
}

// noteDone records that d has its outcome.
func (s *sender) noteDone(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.queue.unfinished--
	s.dropIdleLocked(d.queue)
}
