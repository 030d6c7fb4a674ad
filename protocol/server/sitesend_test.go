package server

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
)

func (s *site) send(r *protocol.SendRequest, from protocol.Address, i int, to protocol.Address) {
	s.mu.Lock()
	sessions := slices.Clone(s.listens[to])
	_, known := s.accounts[to]
	denied := s.rule(to, from).Message == protocol.Deny
	s.mu.Unlock()
	switch {
	case s.mute:
		return
	case !known:
		r.Done(i, protocol.Outcome{Status: protocol.StatusUnknownAddress, Text: "there is no user " + to.String()})
		return
	case len(sessions) == 0 || denied:
		r.Done(i, protocol.Outcome{Status: protocol.StatusNotListening, Text: to.String() + " is not listening"})
		return
	}
	m := &protocol.Message{
		From: from, To: to, ID: r.ID, Time: time.Now(), Entity: r.Entity,
		Deadline: r.Deadline(), Repeatable: r.Repeatable,
	}
	heard := &answers{left: len(sessions)}
	for _, u := range sessions {
		u.session.Deliver(m, func(o protocol.Outcome) {
			if o, all := heard.take(o); all {
				r.Done(i, o)
			}
		})
	}
}

// answers are those of a user's sessions to one message (rule 7 of section 6).
type answers struct {
	mu   sync.Mutex
	left int
	said bool
	best protocol.Outcome
}

func (a *answers) take(o protocol.Outcome) (protocol.Outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	rank := []protocol.Status{200, 201, 486, 409, 481, 503, 480}
	if a.best.Status == 0 || slices.Index(rank, o.Status) < slices.Index(rank, a.best.Status) {
		a.best = o
	}
	if a.said || a.left > 0 && o.Status != protocol.StatusOK {
		return o, false
	}
	a.said = true
	return a.best, true
}
