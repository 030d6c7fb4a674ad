package server

import (
	"context"

	"simpd/protocol"
)

// listen makes the session receive messages (SIMP.md, section 5). They may
// come before its answer.
func (s *session) listen(ctx context.Context, r *request) {
	l, err := decodeListen(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	if !s.in.listening() { // or it is refused below, without a wait
		if _, err := s.awaitChange(ctx, presenceChange); err != nil {
			s.refuse(r, err)
			return
		}
	}
	if !s.in.start() {
		s.refuse(r, protocol.Errorf(protocol.StatusWrongState, "this session listens already"))
		return
	}
	id, index, err := s.user.Listen(ctx, l)
	if err != nil {
		s.deafen()
		s.refuse(r, err)
		return
	}
	b := protocol.AppendParam(response(r, protocol.StatusOK), "session", id)
	s.answer(r, protocol.AppendInt(b, "index", index))
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

// listeningState reads state, or returns what stands for it if it is not
// given; Deaf: it has to be.
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

// noteParam reads a text of limited length; nil if it is not given.
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

// deafen ends listening. What is not begun is certainly not delivered.
func (s *session) deafen() bool {
	all, listened := s.in.stop()
	if len(all) > 0 {
		s.out.purge()
		settle(all)
	}
	return listened
}
