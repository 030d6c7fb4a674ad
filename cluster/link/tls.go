package link

import (
	"context"
	"crypto/tls"
	"net"

	"simpd/cluster/link/pki"
)

// tlsHandshaker identifies nodes by their certificates.
type tlsHandshaker struct{ identity *pki.Identity }

func (b tlsHandshaker) accept(ctx context.Context, c net.Conn) (net.Conn, peerIdentity, error) {
	return tlsHandshake(ctx, tls.Server(c, b.identity.Server(raftProtocol, callProtocol)))
}

func (b tlsHandshaker) dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, peerIdentity, error) {
	return tlsHandshake(ctx, tls.Client(c, b.identity.Client(node, protocol)))
}

// tlsHandshake performs the handshake and returns the identity of the other
// end.
func tlsHandshake(ctx context.Context, conn *tls.Conn) (net.Conn, peerIdentity, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, peerIdentity{}, err
	}
	s := conn.ConnectionState()
	name, err := pki.Peer(s)
	if err != nil {
		return nil, peerIdentity{}, err
	}
	return conn, peerIdentity{name.ID, s.NegotiatedProtocol, pki.FingerprintOf(s.PeerCertificates[0])}, nil
}
