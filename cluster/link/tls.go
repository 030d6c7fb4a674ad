package link

import (
	"context"
	"crypto/tls"
	"net"

	"simpd/cluster/link/pki"
)

// byTLS introduces nodes by their certificates.
type byTLS struct{ identity *pki.Identity }

func (b byTLS) accept(ctx context.Context, c net.Conn) (net.Conn, peerIdentity, error) {
	return shake(ctx, tls.Server(c, b.identity.Server(raftProtocol, callProtocol)))
}

func (b byTLS) dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, peerIdentity, error) {
	return shake(ctx, tls.Client(c, b.identity.Client(node, protocol)))
}

// shake does the handshake and reads who is at the other end.
func shake(ctx context.Context, conn *tls.Conn) (net.Conn, peerIdentity, error) {
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
