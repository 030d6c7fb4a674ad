package server

import (
	"time"

	"simpd/protocol"
)

// waits reports whether converse waits: for a handshake, or because it reads.
func (s *session) waits() bool {
	_, looped := s.conn.(*socket)
	return !looped || s.transport == protocol.TLS
}

// handOver lets a loop read, which tells ready; false: there is none.
func (s *session) handOver() bool {
	sock, ok := s.conn.(*socket)
	if !ok {
		return false
	}
	if sock.listen(s) != nil {
		s.depart(sock, broken)
	}
	return true
}

// ready is told by the loop that there may be something to read. It must not
// wait. It returns true to be called again.
func (s *session) ready(sock *socket, buf []byte) (again bool) {
	if s.isPaused(sock) {
		return false // resume has it called again
	}
	octets, _, err := s.input.takeLater()
	more := true
	if octets == nil {
		octets, more, err = s.out.wire.(evented).readNow(s.window(buf))
	}
	if err == error(errAgain) && !s.closing.Load() {
		return false
	}
	if end, over := s.heard(octets, false, err); over {
		s.depart(sock, end)
		return false
	}
	if s.pace.until != 0 {
		s.resume(sock)
		return false
	}
	return more || s.input.later != nil
}

// isPaused reports whether nothing may be read yet. Where the limits are still
// exceeded when a pause is over it begins another.
func (s *session) isPaused(sock *socket) bool {
	if s.pace.until == 0 || s.closing.Load() {
		return false
	}
	if s.untilPaced() > 0 {
		return true
	}
	if !s.mayRead() {
		s.resume(sock)
		return true
	}
	return false
}

// resume has the loop go on once the pause is over.
func (s *session) resume(sock *socket) {
	time.AfterFunc(s.untilPaced(), func() { sock.loop.post(sock) })
}

// window is as much of buf as is read at a time: little before AUTH, and much
// only within a literal.
func (s *session) window(buf []byte) []byte {
	switch {
	case !s.proved.Load():
		return buf[:protocol.MaxLine]
	case s.input.open == nil:
		return buf[:bufferSize]
	}
	return buf
}

// depart leaves, once. The loop tells nothing any more.
func (s *session) depart(sock *socket, end ending) {
	if sock.deafen(s) {
		go s.leave(end) // Shutdown waits until it is forgotten
	}
}

// wait does what waits, in the place of reading.
func (s *session) wait(f func()) {
	sock, ok := s.conn.(*socket)
	if !ok {
		f()
		return
	}
	sock.deafen(s)
	go func() { // Shutdown waits until the session is forgotten
		f()
		_ = sock.listen(s) // the loop knows it already
	}()
}
