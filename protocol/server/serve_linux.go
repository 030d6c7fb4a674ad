package server

import "simpd/protocol"

// waits tells whether converse waits: for a handshake, or because it reads.
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
	octets, more, err := s.wire.(evented).readNow(buf)
	if err == error(errAgain) && !s.closing.Load() {
		return false
	}
	if end, over := s.heard(octets, false, err); over {
		s.depart(sock, end)
		return false
	}
	return more
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
