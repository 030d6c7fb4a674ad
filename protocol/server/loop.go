package server

import (
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// isBlocking reports whether serve blocks, for a handshake or because it
// reads.
func (s *session) isBlocking() bool { return !s.conn.HasLoop() || s.transport == protocol.TLS }

// attachToLoop lets an event loop read, which calls OnReadable. It returns
// false if there is no loop.
func (s *session) attachToLoop() bool {
	if !s.conn.HasLoop() {
		return false
	}
	if s.conn.Attach() != nil {
		s.scheduleTeardown(closeBroken)
	}
	return true
}

// OnReadable is called by the event loop when there may be something to read.
// It must not block. It returns true to be called again.
func (s *session) OnReadable(buf []byte) (again bool) {
	if s.isPaused() {
		return false // resume has it called again
	}
	octets, _, err := s.decoder.takeDeferred()
	more := true
	if octets == nil {
		octets, more, err = s.conn.ReadNow(s.readWindow(buf))
	}
	if netio.IsAgain(err) && !s.state.isClosing() {
		return false
	}
	if why, over := s.onRead(octets, false, err); over {
		s.scheduleTeardown(why)
		return false
	}
	if s.pace.pausedUntil != 0 {
		s.resume()
		return false
	}
	return more || s.decoder.deferred != nil
}

// isPaused reports whether nothing may be read yet. If the limits are still
// exceeded at the end of a pause, it starts another one.
func (s *session) isPaused() bool {
	if s.pace.pausedUntil == 0 || s.state.isClosing() {
		return false
	}
	if s.pauseLeft() > 0 {
		return true
	}
	if !s.recheckPace() {
		s.resume()
		return true
	}
	return false
}

// resume schedules the next read for the end of the pause.
func (s *session) resume() { time.AfterFunc(s.pauseLeft(), s.conn.Wake) }

// readWindow returns the part of buf to read into: little before AUTH, and
// all only within a literal.
func (s *session) readWindow(buf []byte) []byte {
	switch {
	case !s.state.isAuthenticated():
		return buf[:protocol.MaxLine]
	case s.decoder.pending == nil:
		return buf[:netio.BufferSize]
	}
	return buf
}

// scheduleTeardown starts teardown, once. The event loop does not call the
// session any more.
func (s *session) scheduleTeardown(why closeReason) {
	if s.conn.Detach() {
		go s.teardown(why) // Shutdown waits until it is forgotten
	}
}

// runBlocking runs f, which blocks, while nothing is read.
func (s *session) runBlocking(f func()) {
	if !s.conn.HasLoop() {
		f()
		return
	}
	s.conn.Detach()
	go func() { // Shutdown waits until the session is forgotten
		f()
		_ = s.conn.Attach() // the loop knows it already
	}()
}
