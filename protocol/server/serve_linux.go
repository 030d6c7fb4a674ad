package server

import (
	"time"

	"simpd/protocol"
)

// isBlocking reports whether converse waits: for a handshake, or because it reads.
func (s *session) isBlocking() bool {
	_, looped := s.conn.(*socket)
	return !looped || s.transport == protocol.TLS
}

// attachToLoop lets a loop read, which tells ready; false: there is none.
func (s *session) attachToLoop() bool {
	sock, ok := s.conn.(*socket)
	if !ok {
		return false
	}
	if sock.attach(s) != nil {
		s.scheduleTeardown(sock, endBroken)
	}
	return true
}

// onReadable is called by the event loop when there may be something to read.
// It must not block. It returns true to be called again.
func (s *session) onReadable(sock *socket, buf []byte) (again bool) {
	if s.isPaused(sock) {
		return false // resume has it called again
	}
	octets, _, err := s.decoder.takeDeferred()
	more := true
	if octets == nil {
		octets, more, err = s.out.transport.(nonBlockingTransport).readNow(s.readWindow(buf))
	}
	if err == error(errAgain) && !s.closing.Load() {
		return false
	}
	if end, over := s.onRead(octets, false, err); over {
		s.scheduleTeardown(sock, end)
		return false
	}
	if s.pace.pausedUntil != 0 {
		s.resume(sock)
		return false
	}
	return more || s.decoder.deferred != nil
}

// isPaused reports whether nothing may be read yet. If the limits are still
// exceeded at the end of a pause, it starts another one.
func (s *session) isPaused(sock *socket) bool {
	if s.pace.pausedUntil == 0 || s.closing.Load() {
		return false
	}
	if s.pauseLeft() > 0 {
		return true
	}
	if !s.recheckPace() {
		s.resume(sock)
		return true
	}
	return false
}

// resume schedules the next read for the end of the pause.
func (s *session) resume(sock *socket) {
	time.AfterFunc(s.pauseLeft(), func() { sock.loop.schedule(sock) })
}

// readWindow returns the part of buf to read into: little before AUTH, and
// all only within a literal.
func (s *session) readWindow(buf []byte) []byte {
	switch {
	case !s.authenticated.Load():
		return buf[:protocol.MaxLine]
	case s.decoder.pending == nil:
		return buf[:bufferSize]
	}
	return buf
}

// scheduleTeardown starts teardown, once. The event loop does not call the
// session any more.
func (s *session) scheduleTeardown(sock *socket, end endReason) {
	if sock.detach(s) {
		go s.teardown(end) // Shutdown waits until it is forgotten
	}
}

// runBlocking does what waits, in the place of reading.
func (s *session) runBlocking(f func()) {
	sock, ok := s.conn.(*socket)
	if !ok {
		f()
		return
	}
	sock.detach(s)
	go func() { // Shutdown waits until the session is forgotten
		f()
		_ = sock.attach(s) // the loop knows it already
	}()
}
