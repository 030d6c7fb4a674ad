package server

import (
	"context"
	"strings"

	"simpd/protocol"
)

// queryWaits reports whether a QUERY has to ask elsewhere: the majority, or
// another site.
func (s *session) queryWaits(r *request) bool {
	_, fresh := r.line.Get("fresh")
	return fresh || s.asksElsewhere(r)
}

// asksElsewhere reports whether r names a user of another site.
func (s *session) asksElsewhere(r *request) bool {
	for _, p := range r.line.Params {
		at := strings.LastIndexByte(p.Value, '@')
		if p.Key == "ima" && !s.server.serves(strings.ToLower(p.Value[at+1:])) {
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
	if err == nil {
		err = s.takeWatches(r, &w)
	}
	if err != nil {
		s.refuse(r, err)
		return
	}
	if !s.asksElsewhere(r) {
		s.answerQuery(ctx, s.user, w, r)
		return
	}
	user, own := s.user, r.detach()
	s.jobs.detach(func(ctx context.Context) { s.answerQuery(ctx, user, w, own) }, r.received.Add(requestTime))
}

func (s *session) answerQuery(ctx context.Context, user User, w protocol.WatchRequest, r *request) {
	at, index, err := user.Query(ctx, w)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.answerState(r, presenceLines(r, at, index))
}
