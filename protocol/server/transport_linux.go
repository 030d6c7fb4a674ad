package server

import (
	"crypto/tls"
	"net"

	"simpd/protocol/fairslots"
)

// nonBlockingTransport is a transport for which an event loop reads.
type nonBlockingTransport interface {
	transport
	// readNow reads what has arrived into buf without blocking; errAgain means
	// nothing. more reports that there may be more.
	readNow(buf []byte) (octets []byte, more bool, err error)
}

// newTransport returns how c is read and written, and how it is ended.
func (s *Server) newTransport(c net.Conn) (transport, conn, error) {
	if err := setKeepalive(c); err != nil {
		return nil, nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return newNetTransport(c), c, nil
	}
	sock, err := s.loops.fromTCPConn(tcp, &s.coalescer)
	return sock, sock, err
}

// newTLSTransport returns the wire of TLS over c, once the handshake is done.
func newTLSTransport(c conn, config *tls.Config, turn *fairslots.Turn) (transport, func() tls.ConnectionState, error) {
	sock, ok := c.(*socket)
	if !ok {
		return newNetTLSTransport(c.(net.Conn), config, turn)
	}
	if err := sock.attach(nil); err != nil {
		return nil, nil, err
	}
	w, err := newTLSOverSocket(sock, config, turn)
	if err != nil {
		return nil, nil, err
	}
	return w, w.tls.ConnectionState, nil
}
