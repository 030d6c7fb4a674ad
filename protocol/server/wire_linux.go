package server

import (
	"crypto/tls"
	"net"
)

// evented is a wire for which a loop reads.
type evented interface {
	wire
	// readNow reads what has come into buf, without waiting; errAgain:
	// nothing. more tells that there may be more.
	readNow(buf []byte) (octets []byte, more bool, err error)
}

// newWire returns how c is read and written, and how it is ended.
func (s *Server) newWire(c net.Conn) (wire, conn, error) {
	if err := watchPeer(c); err != nil {
		return nil, nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return newStream(c), c, nil
	}
	sock, err := s.loops.adopt(tcp, &s.gather)
	return sock, sock, err
}

// newTLS returns the wire of TLS over c, once the handshake is done.
func newTLS(c conn, config *tls.Config, turn *handshakeTurn) (wire, func() tls.ConnectionState, error) {
	sock, ok := c.(*socket)
	if !ok {
		return newStreamTLS(c.(net.Conn), config, turn)
	}
	if err := sock.listen(nil); err != nil {
		return nil, nil, err
	}
	w, err := newSealed(sock, config, turn)
	if err != nil {
		return nil, nil, err
	}
	return w, w.tls.ConnectionState, nil
}
