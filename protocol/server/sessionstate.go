package server

import "sync/atomic"

// sessionState is how far a session is, in one word that any goroutine may
// read. A session is connected, greeted by HELLO, and authenticated by AUTH, in
// this order; STARTTLS takes it back to connected. From any phase it closes,
// once, for one reason, and keeps the phase that it had, because the limits of
// an authenticated client hold until its last line is written. A closed session
// is unregistered, and nobody asks for its state.
//
// It is authenticating from when AUTH is read until AUTH is answered. That is
// no phase: AUTH may be read while earlier requests wait, the HELLO among them,
// and an authenticated client may send it too, which is refused in its turn.
//
// The reader and the work queue advance it, never both at once, except that
// the reader begins an AUTH. Any goroutine may close it.
type sessionState struct{ word atomic.Uint32 }

// phase is how far a session is before it closes.
type phase uint8

const (
	phaseConnected     phase = iota
	phaseGreeted             // HELLO was answered
	phaseAuthenticated       // AUTH has succeeded
)

// closeReason is why a session closes.
type closeReason uint8

const (
	closeNone     closeReason = iota // it does not
	closeBroken                      // nothing can be read any more
	closeFinished                    // the client has finished: QUIT, or a half-close
	closeByServer                    // the server has queued its last line
	closeAborted                     // the server has closed the connection at once
)

// The bits of a sessionState.
const (
	phaseMask         = 0x3
	authenticatingBit = 0x4
	reasonShift       = 8
)

func (s *sessionState) phase() phase { return phase(s.word.Load() & phaseMask) }

func (s *sessionState) isAuthenticated() bool { return s.phase() == phaseAuthenticated }

// isAuthenticating reports whether an AUTH is unanswered.
func (s *sessionState) isAuthenticating() bool { return s.word.Load()&authenticatingBit != 0 }

// isClosing reports whether the last line is queued, or nothing can be written.
func (s *sessionState) isClosing() bool { return s.reason() != closeNone }

func (s *sessionState) reason() closeReason { return closeReason(s.word.Load() >> reasonShift) }

// setPhase goes on to another phase.
func (s *sessionState) setPhase(p phase) {
	s.update(func(w uint32) uint32 { return w&^phaseMask | uint32(p) })
}

func (s *sessionState) beginAuth() { s.word.Or(authenticatingBit) }
func (s *sessionState) endAuth()   { s.word.And(^uint32(authenticatingBit)) }

// close begins to close for a reason. It returns false if the session is
// closing already, for the reason that was given first.
func (s *sessionState) close(why closeReason) (first bool) {
	s.update(func(w uint32) uint32 {
		if first = w>>reasonShift == 0; first {
			w |= uint32(why) << reasonShift
		}
		return w
	})
	return first
}

func (s *sessionState) update(change func(uint32) uint32) {
	for {
		before := s.word.Load()
		if s.word.CompareAndSwap(before, change(before)) {
			return
		}
	}
}
