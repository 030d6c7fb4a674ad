package server

import (
	"context"

	"simpd/protocol"
)

// handleWatch sends users' presence, now and at every change (SIMP.md,
// section 7).
func (s *session) handleWatch(_ context.Context, r *request) error {
	w, err := s.decodeWatch(r)
	if err != nil {
		return err
	}
	if len(w.Addresses) == 0 && !w.Contacts {
		return protocol.Errorf(protocol.StatusBadRequest, "ima is missing: WATCH ima=IMA, or contacts=yes")
	}
	if err := s.chargeWatches(r, &w); err != nil {
		return err
	}
	own, written := r.detach(), false
	later, err := s.user.BeginWatch(w, func(at []protocol.Notice, index uint64) {
		written = true
		s.respondState(own, presenceLines(own, at, index))
	})
	switch {
	case later != nil:
		s.work.detach(later, r.received.Add(requestTime))
	case !written && err != nil:
		return err
	case !written:
		return protocol.Errorf(protocol.StatusServerError, "the site did not say how presence is")
	}
	return nil
}

func (s *session) decodeWatch(r *request) (w protocol.WatchRequest, err error) {
	if w.Addresses, err = s.addresses(nil, r, "ima"); err != nil {
		return w, err
	}
	if w.By, err = s.watcherParams(r); err != nil {
		return w, err
	}
	if n := pairCount(&w); n > protocol.MaxPairs {
		return w, protocol.Errorf(protocol.StatusTooLarge, "%d pairs of ima and by are too many: %d are allowed", n, protocol.MaxPairs)
	}
	if err = s.checkLocalTargets(w.Addresses); err != nil {
		return w, err
	}
	if w.Contacts, err = boolParam(r, "contacts"); err != nil {
		return w, err
	}
	if w.Contacts && s.client.Domain != "" {
		return w, protocol.Errorf(protocol.StatusForbidden, "contacts are for users; this connection speaks for a domain")
	}
	w.Fresh, err = boolParam(r, "fresh")
	return w, err
}

// pairCount returns how many pairs of watcher and watched w names.
func pairCount(w *protocol.WatchRequest) int { return len(w.Addresses) * max(1, len(w.By)) }

// watcherParams parses by, which is required on a routing connection and not
// allowed for users.
func (s *session) watcherParams(r *request) ([]protocol.Address, error) {
	by, err := s.addresses(nil, r, "by")
	if err != nil {
		return nil, err
	}
	for _, a := range by {
		if err := s.checkSenderDomain(a); err != nil {
			return nil, err
		}
	}
	if len(by) == 0 && s.client.Domain != "" {
		return nil, protocol.Errorf(protocol.StatusBadRequest, "by is missing: %s ima=IMA by=IMA", r.line.Verb)
	}
	return by, nil
}

// presenceLines returns the response to r: presence at one moment.
func presenceLines(r *request, at []protocol.Notice, index uint64) []byte {
	b := make([]byte, 0, 64+128*len(at))
	for i := range at {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = appendPresence(b, &at[i], at[i].State.Listening())
	}
	b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
	return protocol.AppendEnd(protocol.AppendInt(b, "index", index))
}

// appendNotice encodes a PRESENCE. Unlike a 100 line it carries its index
// even if the user is deaf, because it is a change, of the user or of a rule.
func appendNotice(b []byte, n *protocol.Notice) []byte {
	b = protocol.AppendRequest(b, "*", "PRESENCE")
	return appendPresence(b, n, n.State != protocol.Unknown && n.Index > 0)
}

func appendPresence(b []byte, n *protocol.Notice, indexed bool) []byte {
	b = protocol.AppendParam(b, "ima", n.Address.String())
	b = protocol.AppendParam(b, "state", n.State.String())
	if n.State.Listening() {
		if !n.Since.IsZero() { // another site may not tell
			b = protocol.AppendTime(b, "since", n.Since)
		}
		if n.Note != "" {
			b = protocol.AppendParam(b, "note", n.Note)
		}
	}
	if indexed {
		b = protocol.AppendInt(b, "index", n.Index)
	}
	for _, by := range n.By {
		b = protocol.AppendParam(b, "by", by.String())
	}
	return protocol.AppendEnd(b)
}
