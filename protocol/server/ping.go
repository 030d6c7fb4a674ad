package server

import "simpd/protocol"

// handlePing responds at once, whatever is in flight.
func (s *session) handlePing(r *request) {
	s.reply(r.line.Tag, protocol.AppendEnd(response(r, protocol.StatusOK)))
}
