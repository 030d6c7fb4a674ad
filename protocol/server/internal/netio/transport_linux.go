package netio

import (
	"crypto/tls"
	"net"

	"simpd/protocol/fairslots"
)

// newStream returns how c is read and written, and how it is ended.
func (n *Network) newStream(c net.Conn) (Stream, error) {
	if err := SetKeepalive(c); err != nil {
		return Stream{}, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return Stream{c, newNetTransport(c)}, nil
	}
	sock, err := n.loops.fromTCPConn(tcp, &n.coalescer)
	return Stream{sock, sock}, err
}

// newTLSTransport returns the transport of TLS over c after the handshake.
func newTLSTransport(c Base, config *tls.Config, turn *fairslots.Turn) (Transport, func() tls.ConnectionState, error) {
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
