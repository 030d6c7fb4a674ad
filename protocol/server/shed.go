package server

import (
	"cmp"
	"slices"

	"simpd/protocol/budget"
)

// Held returns the octets held for all clients together: unanswered requests,
// queued output, and everything else kept for them.
func (s *Server) Held() int64 { return s.tenants.pool.Held() }

// shedLoad closes the connections of the largest owner if more memory is held
// than allowed, which can happen because of what can't be refused, such as
// responses. Only one call runs at a time.
func (s *Server) shedLoad() {
	if s.shedding.Swap(true) {
		return
	}
	s.goTracked(func() {
		defer s.shedding.Store(false)
		s.cutLargest()
	})
}

// memoryOwner is an owner with its sessions, the largest first.
type memoryOwner struct {
	octets   int64
	sessions []sessionMemory
}

type sessionMemory struct {
	session *session
	octets  int
}

// cutLargest closes sessions, those of the largest owner first, until what
// they release suffices.
func (s *Server) cutLargest() {
	holders, freed := s.memoryOwners()
	over := s.Held() - s.tenants.pool.Limit() // read now, so that memory released meanwhile is counted at most once
	for _, h := range holders {
		for _, x := range h.sessions {
			if freed > over {
				return
			}
			freed += int64(x.octets)
			s.metrics.Shed.Add(1)
			x.session.Abort()
		}
	}
}

// memoryOwners returns the owners that hold memory, the largest first, and
// how much is held by sessions that are closing.
func (s *Server) memoryOwners() (all []memoryOwner, ending int64) {
	byOwner := make(map[*budget.Owner][]sessionMemory)
	for _, x := range s.allSessions() {
		o, octets := x.usage.owner()
		switch {
		case x.state.isClosing():
			ending += int64(octets)
		case octets > 0:
			byOwner[o] = append(byOwner[o], sessionMemory{x, octets})
		}
	}
	for o, sessions := range byOwner {
		slices.SortFunc(sessions, func(a, b sessionMemory) int { return cmp.Compare(b.octets, a.octets) })
		all = append(all, memoryOwner{o.Held(), sessions})
	}
	slices.SortFunc(all, func(a, b memoryOwner) int { return cmp.Compare(b.octets, a.octets) })
	return all, ending
}
