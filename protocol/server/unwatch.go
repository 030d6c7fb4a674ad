package server

import "context"

// handleUnwatch ends watches (SIMP.md, section 7).
func (s *session) handleUnwatch(_ context.Context, r *request) error {
	w, err := s.decodeWatch(r)
	if err != nil {
		return err
	}
	s.user.Unwatch(w)
	s.respondOK(r)
	return nil
}
