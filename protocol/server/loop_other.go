//go:build !linux

package server

import (
	"crypto/tls"
	"net"

	"simpd/protocol"
)

// loops are for Linux; elsewhere each connection has a goroutine that reads.
type loops struct{}

func (loops) stop() {}

// newWire returns how c is read and written, and how it is ended.
func (s *Server) newWire(c net.Conn) (wire, conn, error) {
	if err := watchPeer(c); err != nil {
		return nil, nil, err
	}
	return newStream(c), c, nil
}

// acceptor is for Linux.
type acceptor struct{ net.Listener }

func (s *Server) accepting(l net.Listener) net.Listener { return l }

func (a *acceptor) acceptAll(*Server, protocol.Transport) error { return net.ErrClosed }

// newTLS returns the wire of TLS over c, once the handshake is done.
func newTLS(c conn, config *tls.Config, turn *handshakeTurn) (wire, func() tls.ConnectionState, error) {
	return newStreamTLS(c.(net.Conn), config, turn)
}

func (s *session) waits() bool    { return true }
func (s *session) handOver() bool { return false }
func (s *session) wait(f func())  { f() }
