package server

import (
	"context"
	"strings"

	"simpd/protocol"
)

// queryBlocks reports whether a QUERY has to ask the majority or another
// site.
func (s *session) queryBlocks(r *request) bool {
	_, fresh := r.line.Get("fresh")
	return fresh || s.asksRemote(r)
}

// asksRemote reports whether r names a user of another site.
func (s *session) asksRemote(r *request) bool {
	for _, p := range r.line.Params {
		at := strings.LastIndexByte(p.Value, '@')
		if p.Key == "ima" && !s.server.isLocalDomain(strings.ToLower(p.Value[at+1:])) {
			return true
		}
	}
	return false
}

// handleQuery returns the presence of users (SIMP.md, section 7).
func (s *session) handleQuery(ctx context.Context, r *request) {
	w, err := s.decodeWatch(r)
	if err == nil && len(w.Addresses) == 0 {
		err = protocol.Errorf(protocol.StatusBadRequest, "ima is missing: QUERY ima=IMA")
	}
	if err == nil {
		err = s.chargeWatches(r, &w)
	}
	if err != nil {
		s.refuse(r, err)
		return
	}
	if !s.asksRemote(r) {
		s.answerQuery(ctx, s.user, w, r)
		return
	}
	user, own := s.user, r.detach()
	s.work.detach(func(ctx context.Context) { s.answerQuery(ctx, user, w, own) }, r.received.Add(requestTime))
}

func (s *session) answerQuery(ctx context.Context, user User, w protocol.WatchRequest, r *request) {
	at, index, err := user.Query(ctx, w)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.respondState(r, presenceLines(r, at, index))
}
