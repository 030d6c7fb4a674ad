package server

import (
	"context"

	"simpd/protocol"
)

// handleListen makes the session receive messages (SIMP.md, section 5). They
// may arrive before its response.
func (s *session) handleListen(ctx context.Context, r *request) error {
	l, err := decodeListen(r)
	if err != nil {
		return err
	}
	if !s.in.isListening() { // or it is refused below, without a wait
		if _, err := s.awaitChange(ctx, presenceChange); err != nil {
			return err
		}
	}
	if !s.in.startListening() {
		return protocol.Errorf(protocol.StatusWrongState, "this session listens already")
	}
	id, index, err := s.user.Listen(ctx, l)
	if err != nil {
		s.stopListening()
		return err
	}
	b := protocol.AppendParam(response(r, protocol.StatusOK), "session", id)
	s.respond(r, protocol.AppendInt(b, "index", index))
	return nil
}

func decodeListen(r *request) (l protocol.ListenRequest, err error) {
	if l.State, err = listeningState(r, protocol.Available); err != nil {
		return l, err
	}
	note, err := noteParam(r, "note")
	if err != nil {
		return l, err
	}
	if note != nil {
		l.Note = *note
	}
	switch mode, given := r.line.Get("mode"); {
	case !given || mode == "shared":
	case mode == "exclusive":
		l.Exclusive = true
	default:
		return l, protocol.Errorf(protocol.StatusBadRequest, "invalid mode %s: must be shared or exclusive", protocol.Quote(mode))
	}
	return l, nil
}

// listeningState parses state. If it is missing it returns otherwise, or an
// error if that is Deaf.
func listeningState(r *request, otherwise protocol.State) (protocol.State, error) {
	name, given := r.line.Get("state")
	if !given && otherwise != protocol.Deaf {
		return otherwise, nil
	}
	state, ok := protocol.ParseListening(name)
	if !ok {
		return state, protocol.Errorf(protocol.StatusBadRequest, "invalid state %s: must be available, away or busy", protocol.Quote(name))
	}
	return state, nil
}

// noteParam parses a text of limited length; nil if it is missing.
func noteParam(r *request, key string) (*string, error) {
	note, given := r.line.Get(key)
	if !given {
		return nil, nil
	}
	if !protocol.ValidNote(note) {
		return nil, protocol.Errorf(protocol.StatusBadRequest, "%s has more than %d octets", key, protocol.MaxNote)
	}
	return &note, nil
}

// stopListening ends listening. Messages whose writing has not begun are
// certainly not delivered.
func (s *session) stopListening() bool {
	all, listened := s.in.stopListening()
	if len(all) > 0 {
		s.conn.RemoveDropped()
		reportAll(all)
	}
	return listened
}
