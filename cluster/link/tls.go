package link

import (
	"context"
	"crypto/tls"
	"net"

	"simpd/cluster/link/pki"
)

// byTLS introduces nodes by their certificates.
type byTLS struct{ identity *pki.Identity }

func (b byTLS) accept(ctx context.Context, c net.Conn) (net.Conn, string, string, error) {
	conn := tls.Server(c, b.identity.Server(raftProtocol, callProtocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, "", "", err
	}
	name, err := pki.Peer(conn.ConnectionState())
	return conn, name.ID, conn.ConnectionState().NegotiatedProtocol, err
}

func (b byTLS) dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, error) {
	conn := tls.Client(c, b.identity.Client(node, protocol))
	return conn, conn.HandshakeContext(ctx)
}
