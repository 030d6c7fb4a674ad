package server

import (
	"context"

	"simpd/protocol"
)

// stateChange is what a STATE requests.
type stateChange struct {
	state protocol.State
	note  *string // nil: unchanged
}

// handleState changes what watchers see (SIMP.md, section 5). While it waits
// for the limit of changes, the following STATEs are merged with it: the
// newest counts, and all are answered alike.
func (s *session) handleState(ctx context.Context, r *request) error {
	change, err := s.decodeState(r)
	if err != nil {
		return err
	}
	waited, err := s.awaitChange(ctx, presenceChange)
	if err != nil {
		return err
	}
	var merged []*request
	if waited {
		merged = s.mergeStates(&change)
	}
	index, err := s.user.SetState(ctx, change.state, change.note)
	if len(merged) == 0 && err != nil {
		return err
	}
	s.answerState(r, index, err)
	for _, one := range merged {
		s.answerState(one, index, err)
		one.free() // execute frees r
	}
	return nil
}

func (s *session) answerState(r *request, index uint64, err error) {
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.respond(r, protocol.AppendInt(response(r, protocol.StatusOK), "index", index))
}

// mergeStates merges the following STATEs into change, and returns them. It
// refuses invalid ones.
func (s *session) mergeStates(change *stateChange) (merged []*request) {
	for _, r := range s.work.takeStates() {
		err := checkSyntax(0, r)
		next := stateChange{}
		if err == nil {
			next, err = s.decodeState(r)
		}
		if err != nil {
			s.refuse(r, err)
			r.free()
			continue
		}
		if next.note == nil {
			next.note = change.note
		}
		*change = next
		merged = append(merged, r)
	}
	return merged
}

func (s *session) decodeState(r *request) (c stateChange, err error) {
	if c.state, err = listeningState(r, protocol.Deaf); err != nil {
		return c, err
	}
	if c.note, err = noteParam(r, "note"); err != nil {
		return c, err
	}
	if !s.in.isListening() {
		return c, notListening()
	}
	return c, nil
}

func notListening() error {
	return protocol.Errorf(protocol.StatusWrongState, "this session does not listen")
}
