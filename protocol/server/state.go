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
// newest counts.
func (s *session) handleState(ctx context.Context, r *request) {
	change, err := s.decodeState(r)
	waited := false
	if err == nil {
		waited, err = s.awaitChange(ctx, presenceChange)
	}
	if err != nil {
		s.refuse(r, err)
		return
	}
	all := []*request{r}
	if waited {
		all = append(all, s.mergeStates(&change)...)
	}
	index, err := s.user.SetState(ctx, change.state, change.note)
	for i, one := range all {
		if err != nil {
			s.refuse(one, err)
		} else {
			s.respond(one, protocol.AppendInt(response(one, protocol.StatusOK), "index", index))
		}
		if i > 0 {
			one.free() // run frees r
		}
	}
}

// mergeStates merges the following STATEs into change, and returns them. It
// refuses invalid ones.
func (s *session) mergeStates(change *stateChange) (merged []*request) {
	for _, r := range s.work.takeStates() {
		err := checkSyntax(command{}, r)
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
