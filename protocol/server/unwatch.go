package server

import "context"

// handleUnwatch ends watches (SIMP.md, section 7).
func (s *session) handleUnwatch(_ context.Context, r *request) {
	w, err := s.decodeWatch(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.user.Unwatch(w)
	s.respondOK(r)
}
