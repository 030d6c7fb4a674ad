//go:build !linux

package server

import (
	"crypto/tls"
	"net"

	"simpd/protocol"
	"simpd/protocol/fairslots"
)

// eventLoops are for Linux; elsewhere each connection has a goroutine that reads.
type eventLoops struct{}

func (eventLoops) stop() {}

// newTransport returns the transport and the conn of c.
func (s *Server) newTransport(c net.Conn) (transport, conn, error) {
	if err := setKeepalive(c); err != nil {
		return nil, nil, err
	}
	return newNetTransport(c), c, nil
}

// socketListener is for Linux.
type socketListener struct{ net.Listener }

func (s *Server) newSocketListener(l net.Listener) net.Listener { return l }

func (a *socketListener) acceptLoop(*Server, protocol.Transport) error { return net.ErrClosed }

// newTLSTransport returns the transport of TLS over c after the handshake.
func newTLSTransport(c conn, config *tls.Config, turn *fairslots.Turn) (transport, func() tls.ConnectionState, error) {
	return newNetTLSTransport(c.(net.Conn), config, turn)
}

// isBlocking reports whether serve blocks, for a handshake or because it
// reads.
func (s *session) isBlocking() bool { return true }

// attachToLoop lets an event loop read, which calls onReadable. It returns
// false if there is no loop.
func (s *session) attachToLoop() bool { return false }

// runBlocking runs f while nothing is read.
func (s *session) runBlocking(f func()) { f() }
