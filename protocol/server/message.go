package server

import (
	"strings"

	"simpd/protocol"
)

// acknowledged takes a client's answer to MESSAGE (SIMP.md, section 6).
func (s *session) acknowledged(number uint64, r *request) {
	var one [1]settled // what it usually is
	all := s.in.answer(one[:0], number, r.line.Status, strings.Clone(r.line.Text), r.received)
	if len(all) == 0 {
		return
	}
	if all[0].Status == protocol.StatusOK {
		s.server.metrics.Delivered.Add(1)
	} else {
		s.server.metrics.Refused.Add(1)
	}
	settle(all)
}
