package server

import (
	"cmp"
	"slices"

	"simpd/protocol/budget"
)

// Held returns how many octets are held for all clients together: what is not
// answered, what waits to be written, and what else is kept for them.
func (s *Server) Held() int64 { return s.parties.pool.Held() }

// shed cuts off who holds most if more is held than may be: what can't be
// refused, such as answers, led to that. No two callers do so at a time.
func (s *Server) shed() {
	if s.shedding.Swap(true) {
		return
	}
	s.aside(func() {
		defer s.shedding.Store(false)
		s.cutBiggest()
	})
}

// holder is an owner and its sessions, the one that holds most first.
type holder struct {
	octets   int64
	sessions []holding
}

type holding struct {
	session *session
	octets  int
}

// cutBiggest cuts sessions off, those of the owner first that holds most, until
// what they give back is enough.
func (s *Server) cutBiggest() {
	holders, freed := s.holders()
	over := s.Held() - s.parties.pool.Limit() // now: what is given back meanwhile is in freed or not in over
	for _, h := range holders {
		for _, x := range h.sessions {
			if freed > over {
				return
			}
			freed += int64(x.octets)
			s.metrics.Shed.Add(1)
			x.session.cut()
		}
	}
}

// holders returns who holds something, most first, and how much is held by
// sessions that are ending, which give it back.
func (s *Server) holders() (all []holder, ending int64) {
	byOwner := make(map[*budget.Owner][]holding)
	for _, x := range s.all() {
		o, octets := x.usage.owner()
		switch {
		case x.closing.Load():
			ending += int64(octets)
		case octets > 0:
			byOwner[o] = append(byOwner[o], holding{x, octets})
		}
	}
	for o, sessions := range byOwner {
		slices.SortFunc(sessions, func(a, b holding) int { return cmp.Compare(b.octets, a.octets) })
		all = append(all, holder{o.Held(), sessions})
	}
	slices.SortFunc(all, func(a, b holder) int { return cmp.Compare(b.octets, a.octets) })
	return all, ending
}
