package server

import "context"

// unwatch ends watching (SIMP.md, section 7).
func (s *session) unwatch(_ context.Context, r *request) {
	w, err := s.decodeWatch(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.user.Unwatch(w)
	s.ok(r)
}
