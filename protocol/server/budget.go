package server

import "sync/atomic"

// budget counts the octets that are held for all clients together: requests
// that are not answered, messages that are not, and what waits to be written.
// Above the limit nothing more is taken on; above twice the limit, which only
// answers can reach, whoever holds most is cut off.
type budget struct {
	limit int64
	held  atomic.Int64
	cut   atomic.Bool // somebody is being cut off
}

// Held returns how many octets are held for all clients together: what is not
// answered, and what waits to be written.
func (s *Server) Held() int64 { return s.budget.held.Load() }

func (b *budget) hold(octets int) { b.held.Add(int64(octets)) }

func (b *budget) spent() bool { return b.held.Load() >= b.limit }

// shed cuts off the session that holds most, if far too much is held. No
// two callers do so at a time.
func (s *Server) shed() {
	b := &s.budget
	if b.held.Load() < 2*b.limit || b.cut.Swap(true) {
		return
	}
	s.aside(func() {
		defer b.cut.Store(false)
		s.cutBiggest()
	})
}

func (s *Server) cutBiggest() {
	var biggest *session
	most := 0
	for _, x := range s.all() {
		if n := x.holds(); n > most {
			biggest, most = x, n
		}
	}
	if s.budget.held.Load() < 2*s.budget.limit {
		return // whoever held most has given it back meanwhile, and biggest is somebody else
	}
	if biggest != nil && !biggest.closing.Load() { // one that is closing gives all back
		s.metrics.Shed.Add(1)
		biggest.cut()
	}
}

// holds is how many octets are held for s.
func (s *session) holds() int { return s.out.held() + s.in.held() + s.ledger.held() }
