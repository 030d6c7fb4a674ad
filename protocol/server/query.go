package server

import (
	"context"

	"simpd/protocol"
)

// query shows users' presence once (SIMP.md, section 7).
func (s *session) query(ctx context.Context, r *request) {
	w, err := s.decodeWatch(r)
	if err == nil && len(w.Addresses) == 0 {
		err = protocol.Errorf(protocol.StatusBadRequest, "ima is missing: QUERY ima=IMA")
	}
	if err != nil {
		s.refuse(r, err)
		return
	}
	at, index, err := s.user.Query(ctx, w)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.answerState(r, presenceLines(r, at, index))
}
