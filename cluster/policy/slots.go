package policy

import (
	"context"
	"sync"
)

// slots limits how many questions are open at once, of one party and of all.
type slots struct {
	all chan struct{}

	mu      sync.Mutex
	parties map[string]*partySlots
}

// partySlots are the slots of one party.
type partySlots struct {
	open  chan struct{}
	users int // questions that are open or wait
}

func (s *slots) init() {
	s.all = make(chan struct{}, maxOpen)
	s.parties = make(map[string]*partySlots)
}

// take waits for a slot of the party and for one of all, at most maxWait and
// until ctx ends. It returns false if it got none.
func (s *slots) take(ctx context.Context, party string) bool {
	own := s.join(party)
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if own.wait(ctx, s.all) {
		return true
	}
	s.leave(party)
	return false
}

func (p *partySlots) wait(ctx context.Context, all chan struct{}) bool {
	select {
	case p.open <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	select {
	case all <- struct{}{}:
		return true
	case <-ctx.Done():
		<-p.open
		return false
	}
}

// release gives back what take has taken.
func (s *slots) release(party string) {
	<-s.all
	s.mu.Lock()
	own := s.parties[party]
	s.mu.Unlock()
	<-own.open
	s.leave(party)
}

func (s *slots) join(party string) *partySlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.parties[party]
	if own == nil {
		own = &partySlots{open: make(chan struct{}, maxOpenOfOne)}
		s.parties[party] = own
	}
	own.users++
	return own
}

func (s *slots) leave(party string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.parties[party]
	if own.users--; own.users == 0 {
		delete(s.parties, party)
	}
}
