//go:build !linux

package netio

import (
	"crypto/tls"
	"net"

	"simpd/protocol/fairslots"
)

// eventLoops are for Linux; elsewhere each connection has a goroutine that reads.
type eventLoops struct{}

func (*eventLoops) stop() {}

func (*eventLoops) newStream(int, *coalescer) (Stream, error) { return Stream{}, net.ErrClosed }

// newStream returns how c is read and written, and how it is ended.
func (n *Network) newStream(c net.Conn) (Stream, error) {
	if err := SetKeepalive(c); err != nil {
		return Stream{}, err
	}
	return Stream{c, newNetTransport(c)}, nil
}

// socketListener is for Linux.
type socketListener struct{ net.Listener }

// NewListener returns l.
func NewListener(l net.Listener) net.Listener { return l }

func (*socketListener) acceptAll(*Network, Acceptor) error { return net.ErrClosed }

func rejectFD(int, []byte) {}

// newTLSTransport returns the transport of TLS over c after the handshake.
func newTLSTransport(c Base, config *tls.Config, turn *fairslots.Turn) (Transport, func() tls.ConnectionState, error) {
	return newNetTLSTransport(c.(net.Conn), config, turn)
}
