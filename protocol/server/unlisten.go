package server

import (
	"context"

	"simpd/protocol"
)

// handleUnlisten ends listening (SIMP.md, section 5). No message arrives from
// now on, whatever the site answers.
func (s *session) handleUnlisten(ctx context.Context, r *request) error {
	if !s.stopListening() {
		return notListening()
	}
	s.chargeChange(presenceChange)
	index, err := s.user.Unlisten(ctx)
	if err != nil {
		return err
	}
	s.respond(r, protocol.AppendInt(response(r, protocol.StatusOK), "index", index))
	return nil
}
