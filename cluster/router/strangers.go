package router

import (
	"sync"
	"time"

	"simpd/protocol"
)

// How many recipients that are new to them other sites' users may write to at
// this node in a minute: what they are told is always the same, so that only
// who may send and not watch could find out by sending who listens (section 8).
const (
	newToSender    = 30  // of one sender
	newToDomain    = 300 // of all senders of a domain, who may be made up
	strangerWindow = time.Minute
	knownTime      = time.Hour // at least, that who has written is no stranger
	maxKnown       = 1 << 17   // pairs remembered in that time
)

// strangers remembers who of other sites has written to whom. What is
// counted does not depend on what became of it.
type strangers struct {
	mu       sync.Mutex
	window   time.Time // when the counts began
	counts   map[string]int
	turned   time.Time // when known began to be filled
	known    map[pair]struct{}
	knownOld map[pair]struct{}
}

// admit tells whether a stranger may write to somebody now.
func (s *strangers) admit(from, to protocol.Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(time.Now())
	p := pair{from.FoldCase(), to}
	if s.isKnown(p) {
		return true
	}
	sender, domain := p.by.String(), p.by.Domain()
	if s.counts[sender] >= newToSender || s.counts[domain] >= newToDomain {
		return false
	}
	s.counts[sender]++
	s.counts[domain]++
	s.known[p] = struct{}{}
	return true
}

func (s *strangers) isKnown(p pair) bool {
	if _, ok := s.known[p]; ok {
		return true
	}
	_, ok := s.knownOld[p]
	if ok {
		s.known[p] = struct{}{}
	}
	return ok
}

// turn forgets what is over. s.mu is held.
func (s *strangers) turn(now time.Time) {
	if s.counts == nil || now.Sub(s.window) >= strangerWindow {
		s.window, s.counts = now, make(map[string]int)
	}
	if s.known == nil || now.Sub(s.turned) >= knownTime || len(s.known) >= maxKnown {
		s.turned, s.knownOld, s.known = now, s.known, make(map[pair]struct{})
	}
}
