package server

import (
	"strings"

	"simpd/protocol"
)

// onMessageResponse handles a client's response to MESSAGE (SIMP.md, section
// 6).
func (s *session) onMessageResponse(number uint64, r *request) {
	var one [1]completedSend // avoids an allocation
	all := s.in.onAnswer(one[:0], number, r.line.Status, strings.Clone(r.line.Text), r.received)
	if len(all) == 0 {
		return
	}
	if all[0].Status == protocol.StatusOK {
		s.server.metrics.Delivered.Add(1)
	} else {
		s.server.metrics.Refused.Add(1)
	}
	reportAll(all)
}
