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
func (s *session) handleQuery(ctx context.Context, r *request) error {
	w, err := s.decodeWatch(r)
	if err != nil {
		return err
	}
	if len(w.Addresses) == 0 {
		return protocol.Errorf(protocol.StatusBadRequest, "ima is missing: QUERY ima=IMA")
	}
	if err := s.chargeWatches(r, &w); err != nil {
		return err
	}
	user := s.user
	return s.answerAside(ctx, r, func(ctx context.Context, r *request) error { return s.answerQuery(ctx, user, w, r) })
}

// answerAside answers a request that may ask another site, or the majority for
// another site. If it does, requests that follow are not held up. A site asks with
// fresh=yes in place of a message that it must not send: the requests of its other
// users don't wait for that, as they would not for the message.
func (s *session) answerAside(ctx context.Context, r *request, answer func(context.Context, *request) error) error {
	if _, fresh := r.line.Get("fresh"); !s.asksRemote(r) && (!fresh || s.client.Domain == "") {
		return answer(ctx, r)
	}
	own := r.detach()
	s.work.detach(func(ctx context.Context) { s.refuse(own, answer(ctx, own)) }, r.received.Add(requestTime))
	return nil
}

func (s *session) answerQuery(ctx context.Context, user User, w protocol.WatchRequest, r *request) error {
	at, index, err := user.Query(ctx, w)
	if err != nil {
		return err
	}
	s.respondState(r, presenceLines(r, at, index))
	return nil
}
