package server

import (
	"context"

	"simpd/protocol"
)

// state changes what watchers are shown (SIMP.md, section 5).
func (s *session) state(ctx context.Context, r *request) {
	state, err := listeningState(r, protocol.Deaf)
	if err != nil {
		s.refuse(r, err)
		return
	}
	note, err := noteParam(r, "note")
	if err != nil {
		s.refuse(r, err)
		return
	}
	if !s.in.listening() {
		s.refuse(r, notListening())
		return
	}
	index, err := s.user.SetState(ctx, state, note)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.answer(r, protocol.AppendInt(response(r, protocol.StatusOK), "index", index))
}

func notListening() error {
	return protocol.Errorf(protocol.StatusWrongState, "this session does not listen")
}
