package router

import (
	"context"
	"time"

	"simpd/protocol"
)

// lane is one connection's way to one recipient. It holds messages back while
// a look-up for an earlier one is open, so that they arrive in the order sent.
type lane struct {
	to      protocol.Address
	open    int    // messages without an outcome
	newest  uint64 // the newest that was handed to a session
	looking bool   // a look-up is open
	waiting []*delivery
}

func (l *lane) used() bool { return l.open > 0 || l.looking }

// lane returns the way to a recipient. The one that was asked for last is kept
// at hand; of the others, those in use. s.mu is held.
func (s *sender) lane(to protocol.Address) *lane {
	if s.last != nil && s.last.to == to {
		return s.last
	}
	l := s.others[to]
	if l == nil {
		l = &lane{to: to}
	}
	delete(s.others, to)
	if s.last != nil && s.last.used() {
		if s.others == nil {
			s.others = make(map[protocol.Address]*lane)
		}
		s.others[s.last.to] = s.last
	}
	s.last = l
	return l
}

// leave forgets l if it is not in use any more. s.mu is held.
func (s *sender) leave(l *lane) {
	if l != s.last && !l.used() && s.others[l.to] == l {
		delete(s.others, l.to)
	}
}

// takesOff gives d its place in the order. It returns false if d has to wait
// behind an open look-up for its recipient, which wants one.
func (s *sender) takesOff(d *delivery, mayWait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	d.number = s.begun
	d.lane = s.lane(d.m.To)
	d.lane.open++
	if !mayWait || !d.lane.looking {
		return true
	}
	d.looking = true
	d.lane.waiting = append(d.lane.waiting, d)
	d.arm()
	return false
}

// look begins a confirmed look-up for d, or joins the open one.
func (s *sender) look(d *delivery) {
	d.arm()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := d.lane
	l.waiting = append(l.waiting, d)
	if !l.looking {
		l.looking = true
		go s.run(l)
	}
}

// run confirms the table and lets go on all who waited when it began, until
// nobody waits. It ends with the last deadline of those.
func (s *sender) run(l *lane) {
	for {
		s.mu.Lock()
		batch := l.waiting
		if l.waiting = nil; len(batch) == 0 {
			l.looking = false
			s.leave(l)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := s.confirm(batch)
		for _, d := range batch {
			d.resolve(err)
		}
	}
}

func (s *sender) confirm(batch []*delivery) error {
	var last time.Time
	for _, d := range batch {
		if d.m.Deadline.After(last) {
			last = d.m.Deadline
		}
	}
	ctx, cancel := context.WithDeadline(s.r.ctx, last)
	defer cancel()
	begun := time.Now()
	err := s.r.Directory.Confirm(ctx)
	s.r.Measures.Look.Since(begun)
	s.r.Measures.Looks.count(err)
	return err
}

// handed notes that d is handed to a session now.
func (s *sender) handed(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.lane.newest = max(d.lane.newest, d.number)
}

// overtaken reports whether a later message to the same recipient was handed to
// a session before d: it may be the one that d would be handed to now.
func (s *sender) overtaken(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.lane.newest > d.number
}

// landed notes that d has its outcome.
func (s *sender) landed(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.lane.open--
	s.leave(d.lane)
}
