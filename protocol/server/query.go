package server

import (
	"context"
	"strings"

	"simpd/protocol"
)

// queryWaits tells whether a QUERY has to ask elsewhere: the majority, or
// another site.
func (s *session) queryWaits(r *request) bool {
	for _, p := range r.line.Params {
		at := strings.LastIndexByte(p.Value, '@')
		if p.Key == "fresh" || p.Key == "ima" && !s.server.serves(strings.ToLower(p.Value[at+1:])) {
			return true
		}
	}
	return false
}

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
