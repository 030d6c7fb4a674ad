package server

import (
	"context"

	"simpd/protocol"
)

// handlePing responds at once, whatever is in flight.
func (s *session) handlePing(_ context.Context, r *request) error {
	s.reply(r.line.Tag, protocol.AppendEnd(response(r, protocol.StatusOK)))
	return nil
}

// handleQuit ends reading. What was requested before is answered, and then
// the QUIT (SIMP.md, section 4).
func (s *session) handleQuit(_ context.Context, r *request) error {
	s.quitTag = r.line.Tag
	return nil
}
