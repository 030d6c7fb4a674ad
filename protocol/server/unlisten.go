package server

import (
	"context"

	"simpd/protocol"
)

// unlisten ends listening (SIMP.md, section 5): no message comes from now on,
// whatever the site answers.
func (s *session) unlisten(ctx context.Context, r *request) {
	if !s.deafen() {
		s.refuse(r, notListening())
		return
	}
	s.chargeChange(presenceChange)
	index, err := s.user.Unlisten(ctx)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.answer(r, protocol.AppendInt(response(r, protocol.StatusOK), "index", index))
}
