package router

import (
	"context"
	"time"

	"simpd/protocol"
)

// lane holds back a connection's messages to one recipient while a look-up
// for an earlier one is open, so that they arrive in the order sent.
type lane struct{ waiting []*delivery }

// joinOpen puts d behind an open look-up for its recipient, if there is one.
func (s *sender) joinOpen(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[d.m.To]
	if l == nil {
		return false
	}
	d.looking = true
	l.waiting = append(l.waiting, d)
	d.arm()
	return true
}

// look begins a confirmed look-up for d, or joins the open one.
func (s *sender) look(d *delivery) {
	d.arm()
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[d.m.To]; l != nil {
		l.waiting = append(l.waiting, d)
		return
	}
	if s.lanes == nil {
		s.lanes = make(map[protocol.Address]*lane)
	}
	l := &lane{waiting: []*delivery{d}}
	s.lanes[d.m.To] = l
	go s.run(d.m.To, l)
}

// run confirms the table and lets go on all who waited when it began, until
// nobody waits. It ends with the last deadline of those.
func (s *sender) run(to protocol.Address, l *lane) {
	for {
		s.mu.Lock()
		batch := l.waiting
		if l.waiting = nil; len(batch) == 0 {
			delete(s.lanes, to)
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

// flight is what one connection has on its way to one recipient.
type flight struct {
	open   int
	newest uint64 // the newest delivery that was handed to a session
}

// takesOff gives d its place in the order.
func (s *sender) takesOff(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	d.number = s.begun
	if s.flights == nil {
		s.flights = make(map[protocol.Address]flight)
	}
	f := s.flights[d.m.To]
	f.open++
	s.flights[d.m.To] = f
}

// handed notes that d is handed to a session now.
func (s *sender) handed(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.flights[d.m.To]; ok && d.number > f.newest {
		f.newest = d.number
		s.flights[d.m.To] = f
	}
}

// overtaken tells whether a later message to the same recipient was handed to
// a session before d: it may be the one that d would be handed to now.
func (s *sender) overtaken(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flights[d.m.To].newest > d.number
}

// landed notes that d has its outcome.
func (s *sender) landed(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[d.m.To]
	if f.open--; f.open == 0 {
		delete(s.flights, d.m.To)
		return
	}
	s.flights[d.m.To] = f
}
